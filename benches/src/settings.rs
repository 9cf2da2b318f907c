//! The settings of a run, from the environment.

use crate::data::variable;
use std::error::Error;
use std::path::PathBuf;

/// The variables that every scenario knows.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `BENCH_QUICK`: shows that the scenario works, in seconds.
    pub quick: bool,
    /// `BENCH_DIR`, on the disk to measure.
    pub dir: PathBuf,
    /// `BENCH_ROUNDS`. One in the quick form.
    pub rounds: usize,
}

impl Settings {
    /// Reads the variables. `dir` and `rounds` are the defaults.
    ///
    /// # Errors
    /// If `BENCH_ROUNDS` is not a number, or 0.
    pub fn new(dir: &str, rounds: usize) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let quick = variable("BENCH_QUICK").is_some();
        let rounds = match variable("BENCH_ROUNDS") {
            Some(rounds) => match rounds.parse() {
                Ok(rounds @ 1..) => rounds,
                _ => return Err(format!("BENCH_ROUNDS={rounds}: give a number from 1 on").into()),
            },
            None if quick => 1,
            None => rounds,
        };
        let dir = variable("BENCH_DIR").unwrap_or_else(|| dir.to_owned()).into();
        Ok(Self { quick, dir, rounds })
    }
}
