//! Every deliberate fault of a test build: what it breaks, and the test that notices it.
//!
//! Must never name a fault that nothing switches on, nor leave one out: the tidy tests compare this table
//! with the sources, and with the tests that it names.

/// One deliberate fault.
pub(crate) struct Mutant {
    /// As `TIDINGS_MUTANT` calls it.
    pub(crate) name: &'static str,
    /// What it makes wrong.
    pub(crate) breaks: &'static str,
    /// The test that fails with it and passes without it: file and function.
    pub(crate) noticed_by: (&'static str, &'static str),
}

const fn mutant(name: &'static str, breaks: &'static str, file: &'static str, test: &'static str) -> Mutant {
    Mutant { name, breaks, noticed_by: (file, test) }
}

/// All of them, by the part that they break.
pub(crate) const MUTANTS: &[Mutant] = &[
    // The log.
    mutant(
        "ack-before-sync",
        "a change is acknowledged before its record is synced",
        "tests/sim/log.rs",
        "mutant_ack_before_sync",
    ),
    mutant(
        "skip-dir-sync",
        "a segment's name is used before its folder is synced",
        "tests/sim/log.rs",
        "mutant_skip_dir_sync",
    ),
    mutant(
        "shared-block",
        "a batch begins in the block where the one before it ends",
        "tests/sim/log.rs",
        "mutant_shared_block",
    ),
    mutant(
        "retry-after-failed-fsync",
        "a sync that failed is tried again and believed",
        "tests/sim/calls.rs",
        "mutant_retry_after_failed_fsync",
    ),
    mutant(
        "durable-end-before-overlay",
        "readers are told of an entry that nobody can read yet",
        "tests/sim/cuts.rs",
        "mutant_durable_end_before_overlay",
    ),
    mutant(
        "seal-not-written",
        "an idle log has no proof that its last batch was synced",
        "tests/sim/lost.rs",
        "mutant_seal_not_written",
    ),
    mutant(
        "offsets-reused-after-loss",
        "the log goes on below offsets that were given and lost",
        "tests/sim/lost.rs",
        "mutant_offsets_reused_after_loss",
    ),
    mutant(
        "hole-forgotten",
        "compaction leaves out an entry that a target still needs",
        "tests/sim/holes.rs",
        "mutant_hole_forgotten",
    ),
    // Rows, readers and dead letters.
    mutant(
        "trim-unsynced",
        "a segment goes by a row that is not synced",
        "tests/sim/cuts.rs",
        "mutant_trim_unsynced",
    ),
    mutant(
        "no-row-starts-at-tail",
        "a target without a row begins at the end of the log",
        "tests/sim/cuts.rs",
        "mutant_no_row_starts_at_tail",
    ),
    mutant(
        "piece-unsynced",
        "a row names a file of holes that is not synced",
        "tests/sim/holes.rs",
        "mutant_piece_unsynced",
    ),
    mutant(
        "replay-before-row",
        "a target that goes back is given entries before its row says so",
        "tests/sim/holes.rs",
        "mutant_replay_before_row",
    ),
    mutant(
        "idle-floor-passes-entry",
        "the shared position passes an entry in flight",
        "tests/sim/idle.rs",
        "mutant_idle_floor_passes_entry",
    ),
    mutant(
        "drop-on-full",
        "what a full inbox cannot take is dropped",
        "tests/sim/behind.rs",
        "mutant_drop_on_full",
    ),
    mutant(
        "shed-not-counted",
        "what a target shed is not counted",
        "tests/sim/lost.rs",
        "mutant_shed_not_counted",
    ),
    mutant(
        "dead-letter-without-sync",
        "an entry is settled before its dead letter is synced",
        "tests/sim/dead.rs",
        "mutant_dead_letter_without_sync",
    ),
    mutant(
        "dead-letter-sent-again",
        "a dead letter is sent again after a crash",
        "tests/sim/dead.rs",
        "mutant_dead_letter_sent_again",
    ),
    // Delivery.
    mutant(
        "unknown-as-delivered",
        "an attempt without an answer counts as delivered",
        "tests/sim/far.rs",
        "mutant_unknown_as_delivered",
    ),
    mutant(
        "progress-before-ack",
        "an entry is settled when it is sent",
        "tests/sim/far.rs",
        "mutant_progress_before_ack",
    ),
    mutant(
        "timeout-as-delivered",
        "an attempt that takes too long counts as delivered",
        "tests/sim/far.rs",
        "mutant_timeout_as_delivered",
    ),
    mutant(
        "two-in-flight",
        "two events of one key are out together",
        "tests/sim/far.rs",
        "mutant_two_in_flight",
    ),
    mutant(
        "late-receipt-settles",
        "an answer to an attempt that was given up settles another",
        "tests/sim/far.rs",
        "mutant_late_receipt_settles",
    ),
    mutant(
        "hole-hashes-late",
        "new entries are sent before the keys of held ones are known",
        "tests/sim/far.rs",
        "mutant_hole_hashes_late",
    ),
    mutant(
        "rules-matched-at-delivery",
        "today's rules decide about yesterday's events",
        "tests/sim/far.rs",
        "mutant_rules_matched_at_delivery",
    ),
    mutant(
        "sequencer-from-the-clock",
        "events are numbered by the wall clock",
        "tests/sim/lost.rs",
        "mutant_sequencer_from_the_clock",
    ),
    mutant(
        "return-as-delivered",
        "what an exchange returned counts as delivered",
        "connectors/amqp/tests/mutants.rs",
        "mutant_return_as_delivered",
    ),
    // The store.
    mutant(
        "checkpoint-before-packs-sync",
        "the index names bytes of a pack that is not synced",
        "tests/sim/cuts.rs",
        "mutant_checkpoint_before_packs_sync",
    ),
    mutant(
        "pack-removed-before-checkpoint",
        "a pack goes before the index that no longer names it is durable",
        "tests/sim/space.rs",
        "mutant_pack_removed_before_checkpoint",
    ),
    mutant(
        "blob-collected-early",
        "a body is taken for an orphan while its record waits to be applied",
        "tests/sim/lost.rs",
        "mutant_blob_collected_early",
    ),
    mutant(
        "rules-announced-early",
        "a bucket's rules are announced before they are durable",
        "tests/sim/own.rs",
        "rules_that_are_announced_before_they_are_durable_are_noticed",
    ),
    mutant(
        "restore-timer-lost",
        "a restore has no timer after a restart",
        "tests/sim/restores.rs",
        "mutants_of_restores_are_noticed",
    ),
    mutant(
        "restore-done-twice",
        "a restore that is done stays due",
        "tests/sim/restores.rs",
        "mutants_of_restores_are_noticed",
    ),
    mutant(
        "restore-outlives-its-object",
        "a restore of an object that is gone is done all the same",
        "tests/sim/restores.rs",
        "mutants_of_restores_are_noticed",
    ),
];
