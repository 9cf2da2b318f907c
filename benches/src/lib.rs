//! Compares the io-core backends with one another, with a bare io_uring loop and with a plain loop over a map
