//! What is left of the logs.

use super::{Salvage, unless_unread};
use crate::collection::files::{FileName, MANIFEST, log_path, parse, torn_path};
use crate::collection::manifest::Manifest;
use crate::error::Error;
use io_core::with_causes;
use std::path::{Path, PathBuf};
use vecstore_format::log::{LogBytes, SalvagedBatch, SalvagedLog, salvage_log};

/// A log, and the batches of it that count.
pub(super) type Batches = (SalvagedLog<'static>, Vec<SalvagedBatch>);

impl Salvage<'_> {
    /// The numbers and lengths of the logs. Notes which copies of earlier logs exist.
    pub(super) fn find_logs(&mut self, dir: &Path, manifest: &Manifest) -> Result<Vec<(u64, u64)>, Error> {
        let mut logs = Vec::new();
        for entry in self.directory.list(dir)? {
            match entry.name.to_str().and_then(parse) {
                Some(FileName::Log(number)) if number >= manifest.log_first => logs.push((number, entry.len)),
                Some(FileName::Torn(number)) => {
                    let what = "what was left out of a log when it was opened was not taken over";
                    self.report.notes.push(format!("{}: {what}", torn_path(dir, number).display()));
                    self.report.more_lost = true;
                }
                _ => {}
            }
        }
        Ok(logs)
    }

    /// The remains of the logs, in order: the batches of each that count, and the number of the next write.
    /// Counts the lost writes.
    pub(super) fn writes(
        &mut self,
        dir: &Path,
        logs: &[(u64, u64)],
        manifest: &Manifest,
        mut due: Option<u64>,
    ) -> Result<(Vec<Batches>, Option<u64>), Error> {
        let vector_bytes = self.schema.dim as usize * self.schema.element.bytes() as usize;
        // What stands in for a lost manifest does not know which logs there were.
        let begun: Vec<u64> = manifest.begun().filter(|_| self.is_manifest_known).collect();
        let mut salvaged: Vec<(u64, PathBuf, SalvagedLog<'static>)> = Vec::new();
        for &(number, len) in logs {
            self.check_stop()?;
            let path = log_path(dir, number);
            let open = |len| salvage_log(LogBytes::open(&self.directory, &path, len), vector_bytes);
            // An unreadable log counts as empty.
            let mut log = match unless_unread(open(len).map_err(Error::from))? {
                Ok(log) => log,
                Err(error) => {
                    self.report.notes.push(with_causes(&error).to_string());
                    open(0)?
                }
            };
            let salt = log.header.map(|header| header.salt).or(log.salt);
            let own = match manifest.id {
                None => log.header.map_or(number, |header| header.number),
                Some(_) => match manifest.logs.iter().find(|log| Some(log.salt) == salt) {
                    Some(log) => log.number,
                    // A log that was created but never begun is not worth a note.
                    None if !log.has_records && !begun.contains(&number) => continue,
                    None if log.batches.is_empty() && log.header.is_none() => number,
                    None => {
                        let what =
                            log.header.map_or("a log that lost its header".to_owned(), |own| own.to_string());
                        let note = "not one of the logs of this collection, and was left out";
                        self.report.notes.push(format!("{} is {what}, {note}", path.display()));
                        self.report.more_lost = true;
                        continue;
                    }
                },
            };
            let notes = std::mem::take(&mut log.notes);
            self.report.notes.extend(notes.into_iter().map(|note| format!("{}: {note}", path.display())));
            if own != number {
                self.report.notes.push(format!("{} is log {own}, and was taken as that", path.display()));
            }
            salvaged.push((own, path, log));
        }
        salvaged.sort_by_key(|(number, ..)| *number);
        if salvaged.is_empty() && !self.is_manifest_known {
            let what = "no log is there; if there was one, its writes are lost";
            self.report.notes.push(format!("{}: {what}", dir.display()));
        }
        // The next log tells how many writes a missing log held. Nothing tells it for the last log.
        let is_lost = |number: &&u64| !salvaged.iter().any(|(own, ..)| own == *number);
        let lost: Vec<String> = begun
            .iter()
            .filter(is_lost)
            .map(|&number| Error::log_lost(&log_path(dir, number)).to_string())
            .collect();
        self.report.notes.extend(lost);
        self.report.more_lost |= begun.last().is_some_and(|last| is_lost(&last));
        // Segments hold the writes that the manifest calls finished, unless the manifest is wrong. Replaying
        // them is harmless, because all later writes follow.
        let first = salvaged.iter().filter_map(|(.., log)| log.first_seq()).min();
        if let Some((first, seq_first)) = first.zip(due).filter(|(first, seq_first)| first < seq_first) {
            let what = "which it calls done with, are taken from its logs";
            let path = dir.join(MANIFEST);
            self.report.notes.push(format!(
                "{}: its seq_first is {seq_first}; the writes from {first} on, {what}",
                path.display()
            ));
            due = Some(first);
        }
        let (mut writes, mut lost, mut end_lost) = (Vec::new(), 0u64, false);
        let last = salvaged.last().filter(|(.., log)| !log.is_closed && !log.end_lost);
        // For every other log, the next one shows whether writes are missing.
        if let Some((_, path, _)) = last {
            let what = "it was not closed: if zeros have replaced its last writes, nothing shows it";
            self.report.notes.push(format!("{}: {what}", path.display()));
        }
        for (_, path, log) in salvaged {
            // The next known number shows how many writes are missing before it.
            let mut reach = |seq: u64, next: u64| {
                let at = due.unwrap_or(seq);
                (lost, end_lost) = (seq.saturating_sub(at).saturating_add(lost), false);
                due = Some(next.max(at));
                seq >= at
            };
            if let Some(header) = log.header {
                reach(header.first_seq, header.first_seq);
            }
            let own = log.batches.iter().copied();
            let batches: Vec<SalvagedBatch> =
                own.filter(|batch| reach(batch.seq, batch.seq.saturating_add(1))).collect();
            let repeated = log.batches.len() - batches.len();
            if repeated > 0 {
                let what = "have numbers of writes before them, and were left out";
                self.report.notes.push(format!("{}: {repeated} of its writes {what}", path.display()));
                self.report.more_lost = true;
            }
            if let Some(seq) = log.next_seq {
                reach(seq, seq);
            }
            end_lost |= log.end_lost;
            writes.push((log, batches));
        }
        self.report.more_lost |= end_lost;
        self.report.writes_lost = lost;
        Ok((writes, due))
    }
}
