//! The memory-map backend of io-core: slices of the map, no copy, no executor
