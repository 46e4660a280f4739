//! How numbers of an image are read by tables: each channel at a range of its own.

use crate::evaluator::{BlockEvaluator, Rows, SmoothUse, Use, look_up_each};
use crate::table::SmoothTable;

/// How a tensor's channels are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    pub(super) channels: Vec<ChannelArgument>,
    /// What becomes of results.
    pub(super) result: SmoothUse,
}

/// One argument of a table: a sum of a row's channels, in whole multiples, and a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelArgument {
    /// (channel, multiple).
    pub(super) terms: Vec<(usize, i64)>,
    /// In turns.
    pub(super) constant: f64,
    pub(super) table: SmoothTable,
}

impl Reading {
    /// The number of arguments of a row.
    pub fn len(&self) -> usize {
        self.channels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// The tables, of each argument.
    pub fn tables(&self) -> impl Iterator<Item = &SmoothTable> {
        self.channels.iter().map(|argument| &argument.table)
    }

    /// Of each row, the results of all arguments.
    ///
    /// # Errors
    /// The evaluator's.
    pub(super) fn read<E: BlockEvaluator>(
        &self,
        evaluator: &mut E,
        step: &'static str,
        tensor: E::Tensor,
    ) -> Result<Rows<E::Lane>, E::Error> {
        let lanes = evaluator.lanes(tensor);
        let argument = |evaluator: &E, row: &[E::Lane], ChannelArgument { terms, constant, .. }: &ChannelArgument| {
            let mut sum = evaluator.constant(*constant);
            terms.iter().for_each(|&(channel, factor)| evaluator.add_scaled(&mut sum, &row[channel], factor));
            sum
        };
        let arguments =
            |row: &Vec<E::Lane>| self.channels.iter().map(|channel| argument(evaluator, row, channel)).collect();
        let arguments: Rows<E::Lane> = lanes.iter().map(arguments).collect();
        let tables: Vec<&SmoothTable> = self.tables().collect();
        let mut results =
            look_up_each(evaluator, step, &arguments, &vec![&tables[..]; arguments.len()], Use::smooth(self.result))?;
        for (channel, table) in tables.iter().enumerate().filter(|(_, table)| table.less() != 0.0) {
            let less = evaluator.constant(table.less());
            results.iter_mut().for_each(|row| evaluator.add_scaled(&mut row[channel], &less, 1));
        }
        Ok(results)
    }
}
