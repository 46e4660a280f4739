//! What is kept for how long.

use std::time::SystemTime;

use super::Hub;
use super::keys::unfinished_of;
use super::state::is_over;
use super::texts::is_busy;
use crate::failure::Failure;
use crate::name::Name;
use crate::tracker::Stop;

impl Hub {
    /// Removes what nobody has come for, and gives up what takes too long.
    pub(crate) fn tidy(&self) {
        report([self.tidy_requests(), self.tidy_texts(), self.tidy_keys()]);
    }

    /// Removes texts and keys that were deleted while a request had to stop, after one has.
    pub(super) fn tidy_leaving(&self) {
        report([self.tidy_texts(), self.tidy_keys()]);
    }

    fn tidy_requests(&self) -> Result<(), Failure> {
        let mut state = self.state();
        let (mut old, mut late) = (Vec::new(), Vec::new());
        for (name, entry) in &state.requests {
            match &entry.record.finished {
                Some(finished) if is_over(finished.at, self.arguments.keep_answers) => old.push(name.clone()),
                None if is_over(entry.record.created, self.arguments.request_time) => match entry.running {
                    Some(_) => entry.tracker.ask(Stop::Expired),
                    None => late.push(name.clone()),
                },
                _ => {}
            }
        }
        late.iter().for_each(|name| self.expire(&mut state, name, 0.0));
        for name in &old {
            self.remove_request(&mut state, name)?;
            tracing::info!(request = %name, "answer removed, its time is over");
        }
        drop(state);
        if !late.is_empty() || !old.is_empty() {
            self.announce();
        }
        Ok(())
    }

    fn is_idle(&self, used: SystemTime) -> bool {
        used.elapsed().is_ok_and(|time| time >= self.arguments.keep_idle)
    }

    fn tidy_texts(&self) -> Result<(), Failure> {
        let mut state = self.state();
        let idle = state
            .texts
            .iter()
            .filter(|(name, text)| (text.is_leaving || self.is_idle(text.used)) && !is_busy(&state, name));
        let idle: Vec<Name> = idle.map(|(name, _)| name.clone()).collect();
        for name in idle {
            self.remove_text(&mut state, &name)?;
            tracing::info!(text = %name, "text removed, it was deleted or nobody has used it");
        }
        Ok(())
    }

    fn tidy_keys(&self) -> Result<(), Failure> {
        let mut state = self.state();
        let has_text = |name: &Name| state.texts.values().any(|text| text.keys == *name);
        let idle = state.keys.iter().filter(|(name, entry)| {
            (entry.is_leaving || self.is_idle(entry.used)) && unfinished_of(&state, name) == 0 && !has_text(name)
        });
        let idle: Vec<Name> = idle.map(|(name, _)| name.clone()).collect();
        for name in idle {
            self.remove_keys(&mut state, &name)?;
            tracing::info!(keys = %name, "keys removed, they were deleted or nobody has used them");
        }
        Ok(())
    }
}

fn report<const COUNT: usize>(removed: [Result<(), Failure>; COUNT]) {
    for failure in removed.into_iter().filter_map(Result::err) {
        tracing::error!(reason = failure.line, "cannot remove what is over");
    }
}
