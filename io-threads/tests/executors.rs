//! Tasks and threads under any executor share readers and writers of the pool.

mod common;

#[path = "../../io-core/tests/support/executors.rs"]
mod shared;

use common::{Backend, Reader, Writer};
use io_threads::{ThreadsSink, ThreadsSource};

const fn assert_shared<T: Send + Sync>() {}
const _: () = {
    assert_shared::<Backend>();
    assert_shared::<ThreadsSource>();
    assert_shared::<ThreadsSink>();
    assert_shared::<Reader>();
    assert_shared::<Writer>();
};
