//! How many timers a workflow may still set. Those that it has are counted only where there could be too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::TIMERS_MAX;

/// What is known of how many timers a workflow has.
#[derive(Default)]
pub(super) struct Count {
    /// At least as many as it has, those under way included; none: nobody has counted.
    most: Option<usize>,
    /// How many are about to be stored.
    under_way: Arc<AtomicUsize>,
}

/// Room for timers that are about to be stored: it is held until they are, or until they will not be.
pub(super) struct Room {
    under_way: Arc<AtomicUsize>,
    more: usize,
}

/// What was known when somebody began to count.
#[derive(Clone, Copy)]
pub(super) struct Before {
    most: Option<usize>,
    under_way: usize,
}

/// What counting came to.
pub(super) enum Counted {
    Room(Room),
    /// There are so many already.
    Full(usize),
    /// Others took room meanwhile: it is to be counted again.
    Again,
}

impl Count {
    /// Room without counting, or what is known before it is counted.
    pub(super) fn room(&mut self, more: usize) -> Result<Room, Before> {
        match self.most {
            Some(most) if most + more <= TIMERS_MAX => Ok(self.take(most, more)),
            most => Err(Before { most, under_way: self.under_way.load(Ordering::SeqCst) }),
        }
    }

    /// Room after counting: `others` are stored, beside those that are about to change. Whoever is under way was so before, and may have
    /// been counted twice.
    pub(super) fn counted(&mut self, before: Before, others: usize, more: usize) -> Counted {
        if self.most != before.most {
            return Counted::Again;
        }
        let most = others + before.under_way;
        if most + more > TIMERS_MAX { Counted::Full(most) } else { Counted::Room(self.take(most, more)) }
    }

    /// Somebody else changed the timers.
    pub(super) fn forget(&mut self) {
        self.most = None;
    }

    /// Whether somebody holds room.
    pub(super) fn is_held(&self) -> bool {
        Arc::strong_count(&self.under_way) > 1
    }

    fn take(&mut self, most: usize, more: usize) -> Room {
        self.most = Some(most + more);
        self.under_way.fetch_add(more, Ordering::SeqCst);
        Room { under_way: self.under_way.clone(), more }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.under_way.fetch_sub(self.more, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes room where so many others are stored.
    fn take(count: &mut Count, stored: usize, more: usize) -> Result<Room, usize> {
        let before = match count.room(more) {
            Ok(room) => return Ok(room),
            Err(before) => before,
        };
        match count.counted(before, stored, more) {
            Counted::Room(room) => Ok(room),
            Counted::Full(most) => Err(most),
            Counted::Again => panic!("nobody else is there"),
        }
    }

    #[test]
    fn nobody_gets_room_that_somebody_else_holds() {
        let mut count = Count::default();
        let first = take(&mut count, TIMERS_MAX - 2, 2).ok().unwrap();
        // It is not stored yet, so who counts does not see it.
        assert_eq!(take(&mut count, TIMERS_MAX - 2, 1).err(), Some(TIMERS_MAX));
        // It came to nothing.
        drop(first);
        let second = take(&mut count, TIMERS_MAX - 2, 1).ok().unwrap();
        assert!(take(&mut count, TIMERS_MAX - 2, 2).is_err());
        assert!(take(&mut count, TIMERS_MAX - 2, 1).is_ok());
        drop(second);
        assert!(!count.is_held());
    }

    #[test]
    fn who_counted_while_others_took_room_counts_again() {
        let mut count = Count::default();
        let (one, other) = (count.room(1).err().unwrap(), count.room(1).err().unwrap());
        assert!(matches!(count.counted(one, TIMERS_MAX - 1, 1), Counted::Room(_)));
        assert!(matches!(count.counted(other, TIMERS_MAX - 1, 1), Counted::Again));
    }

    #[test]
    fn timers_that_take_the_place_of_others_need_no_room() {
        let mut count = Count::default();
        // All are there, and two of them are set anew: others are two fewer.
        assert!(take(&mut count, TIMERS_MAX - 2, 2).is_ok());
    }

    #[test]
    fn where_there_is_room_nobody_counts() {
        let mut count = Count::default();
        drop(take(&mut count, 7, 1).ok().unwrap());
        assert!(count.room(TIMERS_MAX - 8).is_ok());
        assert!(count.room(1).is_err());
        count.forget();
        assert!(count.room(1).is_err(), "nobody knows");
    }
}
