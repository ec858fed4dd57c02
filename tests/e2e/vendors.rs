//! What the built-in plugins do, any vendor's can: the same sources under another name pass the same tests.

use crate::{hooks, refusals};

#[test]
fn a_copy_answers_a_signed_push() {
    hooks::a_signed_push_is_answered_and_kept("acme");
}

#[test]
fn a_copy_settles_runs() {
    hooks::a_synchronous_webhook_without_a_response_step("acme");
}

#[test]
fn a_copy_refuses_what_is_wrong() {
    refusals::each_mistake_of_a_caller_has_its_answer("acme");
}
