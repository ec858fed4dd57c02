//! When a call that failed is made again.

use super::called::Failure;
use crate::workflow::Retry;

/// How long to wait, in milliseconds, before a call is made again whose try number `attempt` failed; none: it is not made again.
/// `random` is any number.
///
/// Exponential backoff with "equal jitter": half of the wait is certain, the other half random
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>). A component may ask for a longer wait (HTTP
/// `Retry-After`), not for a shorter one.
pub fn backoff_ms(policy: Option<&Retry>, attempt: u32, failure: &Failure, random: u64) -> Option<u64> {
    let policy = policy.filter(|policy| failure.transient && attempt < policy.attempts)?;
    let factor = u64::from(policy.factor).saturating_pow(attempt.saturating_sub(1));
    let full = policy.backoff_ms.saturating_mul(factor).min(policy.backoff_ms_max);
    let wait = if policy.jitter { full - random % (full / 2 + 1) } else { full };
    Some(wait.max(failure.retry_after_ms.map_or(0, u64::from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(jitter: bool) -> Retry {
        Retry { attempts: 5, backoff_ms: 100, factor: 2, backoff_ms_max: 500, jitter }
    }

    fn failure() -> Failure {
        Failure { transient: true, ..Failure::error("x", "y") }
    }

    #[test]
    fn waits_grow_to_their_bound_and_end() {
        let waits: Vec<_> = (1..=6).map(|attempt| backoff_ms(Some(&policy(false)), attempt, &failure(), 7)).collect();
        assert_eq!(waits, [Some(100), Some(200), Some(400), Some(500), None, None]);
        assert_eq!(backoff_ms(None, 1, &failure(), 7), None);
        assert_eq!(backoff_ms(Some(&policy(false)), 1, &Failure::error("x", "y"), 7), None, "it does not pass");
    }

    #[test]
    fn jitter_takes_up_to_a_half() {
        let waits: Vec<_> = (0..1_000).map(|random| backoff_ms(Some(&policy(true)), 2, &failure(), random).unwrap()).collect();
        assert_eq!((waits.iter().min(), waits.iter().max()), (Some(&100), Some(&200)));
    }

    #[test]
    fn a_component_may_ask_for_a_longer_wait() {
        let asks = |ms| Failure { retry_after_ms: Some(ms), ..failure() };
        assert_eq!(backoff_ms(Some(&policy(false)), 1, &asks(3_000), 0), Some(3_000));
        assert_eq!(backoff_ms(Some(&policy(false)), 1, &asks(3), 0), Some(100));
    }
}
