//! A refused `io_uring_enter` delays operations. It does not lose them.

#![cfg(target_os = "linux")]

#[path = "../../io-core/tests/support/refused_enter.rs"]
mod refused_enter;

#[test]
fn operations_end_when_the_kernel_refuses_to_take_them_at_first() {
    refused_enter::check(&io_ring::RingBackend::default(), &[libc::ENOMEM]);
}
