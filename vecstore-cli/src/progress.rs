//! Progress bars for work longer than a second. None if the output is not a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use vecstore::collection::{BuildStage, OptimizeProgress};

/// A bar stays hidden for this long.
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
            // Draws nothing if standard error is not a terminal.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The bars of an optimization, one for each stage.
#[derive(Default)]
pub(crate) struct OptimizeBars(Arc<StageBars>);

impl OptimizeBars {
    /// The progress callback.
    pub(crate) fn reporter(&self) -> impl Fn(OptimizeProgress) + Send + Sync + 'static {
        let bars = Arc::clone(&self.0);
        move |progress| bars.report(progress)
    }
}

impl Drop for OptimizeBars {
    fn drop(&mut self) {
        self.0.clear();
    }
}

#[derive(Default)]
struct StageBars(Mutex<Option<(BuildStage, Progress)>>);

impl StageBars {
    fn report(&self, progress: OptimizeProgress) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_none_or(|(stage, _)| *stage != progress.stage) {
            let message = match progress.stage {
                BuildStage::Reading => "reading points",
                BuildStage::Index => "building the index",
                BuildStage::Writing => "writing files",
            };
            *current = Some((progress.stage, Progress::new(message, progress.total)));
        }
        if let Some((_, bar)) = &*current {
            bar.set(progress.done);
        }
    }

    fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
