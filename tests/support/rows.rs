//! The table of faults: what may go wrong around tidings, what is expected of it, and the tests that show it.
//! `cargo xtask faults` runs them and writes RELIABILITY.md; tidy checks that each of them exists.
//!
//! Must never call a row shown that has no test: what one machine does not allow, or nobody tests, is said.

#[path = "far_rows.rs"]
mod far;

use far::{AMQP, HTTP, KAFKA, NATS, NETWORK};

/// One fault.
pub(crate) struct Row {
    /// Its number.
    pub(crate) id: &'static str,
    /// What happens.
    pub(crate) fault: &'static str,
    /// What is expected then, besides the promise itself.
    pub(crate) expected: &'static str,
    /// The tests that show it: place and path. A place is a test program, with its connector before it where
    /// it has one: `live`, `http/hostile`; `lib` are the unit tests.
    pub(crate) tests: &'static [&'static str],
    /// What they do not show, and why.
    pub(crate) open: &'static str,
}

const fn row(
    id: &'static str,
    fault: &'static str,
    expected: &'static str,
    tests: &'static [&'static str],
    open: &'static str,
) -> Row {
    Row { id, fault, expected, tests, open }
}

/// Every row, in order of its number.
pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    [PROCESS, DISK, NETWORK, KAFKA, NATS, AMQP, HTTP].into_iter().flatten()
}

const PROCESS: &[Row] = &[
    row(
        "F1",
        "kill -9 at each failpoint and at random",
        "nothing acknowledged is lost",
        &[
            "live kills::kills_under_load_lose_nothing",
            "live kills::at_failpoints::kills_at_every_failpoint_lose_nothing",
            "live kills::at_failpoints::kills_while_the_log_is_compacted_lose_nothing",
            "live kills::at_failpoints::kills_while_holes_are_frozen_lose_nothing",
            "live kills::at_failpoints::kills_while_a_target_goes_back_lose_nothing",
            "live kills::at_failpoints::kills_while_a_target_is_forgotten_leave_nothing_of_it",
            "live dead::kills_at_the_failpoints_of_dead_letters_lose_nothing_and_send_nothing_again",
            "live restores::kills_while_objects_are_restored_lose_and_double_nothing",
            "live origins::kills_within_and_behind_a_fetch_lose_and_double_nothing",
        ],
        "",
    ),
    row(
        "F2",
        "kill -9 during recovery, three times in a row",
        "the same",
        &["live kills::at_failpoints::three_kills_in_a_row_during_recovery_lose_nothing"],
        "",
    ),
    row(
        "F3",
        "SIGTERM under load",
        "drained or kept, exit 0, nothing delivered again",
        &[
            "live volume::a_server_stopped_and_started_under_load_loses_nothing",
            "it start::a_stop_ends_within_its_deadline_whoever_hangs",
        ],
        "",
    ),
    row(
        "F4",
        "SIGSTOP, then SIGCONT",
        "timeouts and retries, nothing lost",
        &["live network::a_server_that_stands_still_longer_than_everybody_waits_loses_nothing"],
        "10 s, longer than anybody waits there; 60 s with --long. There is no lease to lose: one process.",
    ),
    row(
        "F5",
        "power cut: unsynced writes lost, torn, reordered",
        "everything acknowledged is there",
        &[
            "sim log::every_power_cut_leaves_what_was_called_durable",
            "sim cuts::the_whole_stack_survives_power_cuts",
            "sim whole::power_cuts_around_a_compaction_lose_nothing",
            "sim dead::dead_letters_survive_power_cuts",
            "sim holes::rows_with_frozen_holes_survive_power_cuts",
            "sim versions::a_bucket_with_versions_survives_power_cuts",
            "sim space::power_cuts_while_space_is_won_back_lose_nothing",
        ],
        "On a block device with ext4: `cargo xtask powercut`, as root.",
    ),
    row(
        "F6",
        "no file descriptors; out of memory",
        "refusals, bounded memory, no loss",
        &[
            "live exhausted::a_server_without_file_descriptors_refuses_loses_nothing_and_goes_on",
            "live stuck::a_key_that_nobody_takes_holds_neither_the_log_nor_other_keys_nor_memory",
        ],
        "The kernel's end for a process that takes too much is SIGKILL, F1; no memory cgroup is set.",
    ),
    row(
        "F7",
        "clock a day ahead, a day behind, 1970",
        "order, ids and retries unaffected; only signatures are refused",
        &[
            "live clock::\
             a_clock_that_steps_by_a_day_and_starts_in_1970_changes_neither_order_nor_ids_nor_retries",
            "lib app::steady::tests::a_clock_set_back_and_put_right_makes_nothing_older",
            "sim restores::every_restore_is_done_once_whatever_the_power_and_the_clock_do",
        ],
        "",
    ),
    row(
        "F8",
        "upgrade and downgrade with a backlog",
        "read, or refused with a sentence",
        &[
            "it first::the_directory_of_the_first_format_opens_whole",
            "lib journal::format_tests::an_unknown_version_is_refused_with_a_sentence",
            "lib store::embedded::tests::faults::a_pack_of_a_newer_version_is_refused_with_a_sentence",
            "lib queue::codec::tests::a_newer_required_field_is_refused_and_an_optional_one_skipped",
        ],
        "There is no older release to come from.",
    ),
];

const DISK: &[Row] = &[
    row(
        "F9",
        "no space: bodies, log, rows, letters, segments; then space",
        "refusals, reads and forwarding go on, healed without a restart",
        &[
            "sim full::a_full_disk_is_administered_drained_killed_and_heals",
            "sim calls::no_space_for_the_next_segment_heals_without_a_restart",
            "sim full::a_tail_is_copied_on_a_full_disk_in_the_room_of_prepared_segments",
            "lib store::embedded::tests::faults::a_full_disk_stops_nothing_but_applying_and_heals",
            "it full::a_full_log_takes_changes_again_once_its_target_is_back",
        ],
        "",
    ),
    row(
        "F10",
        "EIO of a sync of the log, once",
        "no answer for that batch, the process ends, never a second sync",
        &[
            "sim calls::a_failed_write_or_sync_ends_every_answer",
            "sim calls::no_failing_call_costs_what_was_called_durable",
            "sim whole::no_failing_call_costs_the_whole_stack_what_was_acknowledged",
            "sim dead::no_failing_call_costs_a_dead_letter",
        ],
        "",
    ),
    row(
        "F11",
        "EIO of a read; flipped bits, zeros, missing and cut files",
        "found, named, stopped there, never skipped silently",
        &[
            "sim damage::every_damaged_sector_is_found_or_did_not_matter",
            "sim damage::one_bad_sector_in_every_place_is_found_and_named_stopped_killed_and_running",
            "sim whole::rot_in_log_rows_and_packs_is_an_error_and_never_a_wrong_answer",
            "it rot::a_rotten_sector_is_found_named_and_given_up_by_an_operator_only",
            "lib journal::tests::damage::missing_and_unreadable_files_are_named_and_can_be_given_up",
        ],
        "",
    ),
    row(
        "F12",
        "a sync of 2 s, or one that hangs for 60 s",
        "back-pressure, no unbounded queue",
        &[],
        "Not tested: no disk here is slow on demand. Changes take one of so many permits before they wait.",
    ),
    row(
        "F13",
        "two processes on one data directory; NFS; read-only remount",
        "the second is refused; fail closed",
        &[
            "it start::a_second_process_is_refused_with_the_pid_of_the_first",
            "lib app::lock::tests::a_second_one_is_refused_with_the_first_ones_pid",
        ],
        "No NFS on one machine; a disk that takes no writes is F10.",
    ),
    row(
        "F14",
        "an old copy of the data directory is restored",
        "sequencers do not go back",
        &[
            "it restored::what_comes_after_a_copy_was_put_back_lies_above_all_that_came_before",
            "lib journal::tests::damage::an_unproven_tail_is_dropped_and_a_proven_one_is_not",
        ],
        "Once `journal restored` was run: an old copy itself is not recognized.",
    ),
];
