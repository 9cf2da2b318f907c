//! Progress bars for whatever takes longer than a second; none when the output is no terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use vecstore::segment::{BuildProgress, BuildStage};

/// Before this much time a bar does not show.
const QUIET: Duration = Duration::from_secs(1);

/// One bar, hidden until it has run for a second.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    pub(crate) fn new(message: &str, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{msg:<18} {wide_bar} {human_pos}/{human_len} {eta}");
        bar.set_style(style.expect("the template is right"));
        bar.set_message(message.to_owned());
        Self { bar, started: Instant::now() }
    }

    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
        self.show_if_slow();
    }

    pub(crate) fn inc(&self) {
        self.bar.inc(1);
        self.show_if_slow();
    }

    fn show_if_slow(&self) {
        if self.bar.is_hidden() && self.started.elapsed() > QUIET {
            // Draws nothing when the standard error output is no terminal.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The bars of a build, one a stage.
#[derive(Default)]
pub(crate) struct BuildBars(Mutex<Option<(BuildStage, Progress)>>);

impl BuildBars {
    pub(crate) fn report(&self, progress: BuildProgress) {
        let mut current = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if current.as_ref().is_none_or(|(stage, _)| *stage != progress.stage) {
            let message = match progress.stage {
                BuildStage::Vectors => "encoding vectors",
                BuildStage::Graph => "building the graph",
                BuildStage::Files => "writing files",
            };
            *current = Some((progress.stage, Progress::new(message, progress.total)));
        }
        if let Some((_, bar)) = &*current {
            bar.set(progress.done);
        }
    }
}
