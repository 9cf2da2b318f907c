//! Batched vector reads by offset, for any async runtime: the contract, the planner, the driver and the conformance battery
