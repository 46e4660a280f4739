//! Whose turn it is.
//!
//! Keys take turns: one request of each, then the next one of each, however many some of them have. Requests of the same keys are in the
//! order in which they came, and so are those of a text, of which never two are computed at the same time.

use std::collections::VecDeque;

use crate::name::Name;

/// A request that waits.
#[derive(Clone, Debug)]
struct Waiting {
    request: Name,
    text: Option<Name>,
}

/// Requests that wait, by keys. The first keys are next, and no list of them is empty.
#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    turns: VecDeque<(Name, VecDeque<Waiting>)>,
}

impl FairQueue {
    pub(crate) fn push(&mut self, keys: &Name, request: Name, text: Option<Name>) {
        let waiting = Waiting { request, text };
        match self.turns.iter_mut().find(|(of, _)| of == keys) {
            Some((_, list)) => list.push_back(waiting),
            None => self.turns.push_back((keys.clone(), VecDeque::from([waiting]))),
        }
    }

    /// The request whose turn it is, of those whose text is not busy. Its keys are the last ones then.
    pub(crate) fn take(&mut self, is_busy: impl Fn(&Name) -> bool) -> Option<Name> {
        let is_free = |waiting: &Waiting| !waiting.text.as_ref().is_some_and(&is_busy);
        let mut places = self.turns.iter().enumerate();
        let (turn, at) =
            places.find_map(|(turn, (_, list))| list.iter().position(is_free).map(|position| (turn, position)))?;
        let (keys, mut list) = self.turns.remove(turn)?;
        let taken = list.remove(at)?;
        if !list.is_empty() {
            self.turns.push_back((keys, list));
        }
        Some(taken.request)
    }

    /// Takes out a request, wherever it is.
    pub(crate) fn remove(&mut self, request: &Name) {
        self.turns.iter_mut().for_each(|(_, list)| list.retain(|waiting| waiting.request != *request));
        self.turns.retain(|(_, list)| !list.is_empty());
    }

    /// How many requests are before this one, if no text is busy and none comes in between.
    pub(crate) fn place(&self, request: &Name) -> Option<usize> {
        let position = |list: &VecDeque<Waiting>| list.iter().position(|waiting| waiting.request == *request);
        let mut turns = self.turns.iter().enumerate();
        let (turn, at) = turns.find_map(|(turn, (_, list))| Some((turn, position(list)?)))?;
        // Of each of the keys before it, one more than of those behind it.
        let before =
            self.turns.iter().enumerate().map(|(other, (_, list))| list.len().min(at + usize::from(other < turn)));
        Some(before.sum())
    }

    pub(crate) fn len(&self) -> usize {
        self.turns.iter().map(|(_, list)| list.len()).sum()
    }

    /// How many requests of these keys wait.
    pub(crate) fn len_of(&self, keys: &Name) -> usize {
        self.turns.iter().find(|(of, _)| of == keys).map_or(0, |(_, list)| list.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Name {
        Name::parse(&format!("{number:032x}")).unwrap()
    }

    /// All that is left, in its order, and that each place says so before.
    fn order(queue: &mut FairQueue) -> Vec<Name> {
        let mut taken = Vec::new();
        while queue.len() > 0 {
            let places: Vec<(Name, usize)> =
                (0..1000).filter_map(|number| Some((name(number), queue.place(&name(number))?))).collect();
            let next = queue.take(|_| false).unwrap();
            assert!(places.contains(&(next.clone(), 0)));
            let moved = |(request, place): &(Name, usize)| queue.place(request) == place.checked_sub(1);
            assert!(places.iter().all(moved), "{places:?}");
            taken.push(next);
        }
        taken
    }

    #[test]
    fn keys_take_turns() {
        let mut queue = FairQueue::default();
        (0..5).for_each(|number| queue.push(&name(100), name(number), None));
        queue.push(&name(101), name(10), None);
        (20..22).for_each(|number| queue.push(&name(102), name(number), None));
        assert_eq!((queue.len(), queue.len_of(&name(100)), queue.len_of(&name(103))), (8, 5, 0));
        assert_eq!(order(&mut queue), [0, 10, 20, 1, 21, 2, 3, 4].map(name));
    }

    #[test]
    fn who_was_served_waits_for_all_others() {
        let mut queue = FairQueue::default();
        (0..3).for_each(|number| queue.push(&name(100), name(number), None));
        assert_eq!(queue.take(|_| false), Some(name(0)));
        queue.push(&name(101), name(10), None);
        assert_eq!(queue.take(|_| false), Some(name(1)));
        queue.push(&name(102), name(20), None);
        assert_eq!(order(&mut queue), [10, 2, 20].map(name));
    }

    #[test]
    fn a_busy_text_is_passed_over_in_its_order() {
        let mut queue = FairQueue::default();
        for (number, text) in [(0, 50), (1, 50), (2, 51), (3, 50)] {
            queue.push(&name(100), name(number), Some(name(text)));
        }
        let busy = |text: &Name| *text == name(50);
        assert_eq!(queue.take(busy), Some(name(2)));
        assert_eq!(queue.take(busy), None);
        assert_eq!(queue.take(|_| false), Some(name(0)));
        queue.remove(&name(1));
        assert_eq!(queue.take(|_| false), Some(name(3)));
        assert_eq!((queue.len(), queue.take(|_| false)), (0, None));
    }
}
