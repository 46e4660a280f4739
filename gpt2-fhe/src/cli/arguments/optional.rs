//! A block from files where one is possible, and not needed.

use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::BlockSelection;

/// A [`BlockSelection`], if `--weights` is given: what it needs otherwise is needed then.
#[derive(Debug)]
pub(crate) struct OptionalBlock(pub(crate) Option<BlockSelection>);

impl FromArgMatches for OptionalBlock {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_given = matches.contains_id("weights");
        Ok(Self(is_given.then(|| BlockSelection::from_arg_matches(matches)).transpose()?))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for OptionalBlock {
    fn augment_args(command: Command) -> Command {
        let needed = ["weights", "hidden", "tensor"];
        needed.into_iter().fold(BlockSelection::augment_args(command), |command, option| {
            command.mut_arg(option, |argument| argument.required(false))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
