//! The values of labels: closed enums.
//!
//! Must never hold a value that a client can choose.

macro_rules! label_values {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $label:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The label's value.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }
    };
}

label_values! {
    /// The two halves of making a batch durable: label `stage`.
    Stage {
        /// Writing the batch into the segment.
        Write => "write",
        /// The `fdatasync` after it.
        Sync => "sync",
    }
}

label_values! {
    /// What came of one attempt: label `result`.
    AttemptResult {
        /// The far side has the event.
        Ok => "ok",
        /// Not known to be delivered; tried again.
        Retry => "retry",
        /// The far side asked to slow down.
        Throttled => "throttled",
        /// Can never be accepted.
        Rejected => "rejected",
        /// The target cannot take anything until somebody mends it.
        Faulted => "faulted",
        /// Neither settled nor dropped before the lane's deadline; tried again.
        Timeout => "timeout",
        /// Given up with its connection, which failed for another reason; tried again.
        Abandoned => "abandoned",
    }
}

label_values! {
    /// How a target's lane stands: label `state` of `tidings_circuit_state`.
    TargetState {
        /// Reaching the far side for the first time, or again.
        Connecting => "connecting",
        /// Delivering.
        Up => "up",
        /// Waiting because the far side asked for it.
        Throttled => "throttled",
        /// Many keys failed: timers suspended, one probe at a time.
        Down => "down",
        /// Somebody must mend the far side or the configuration: held, probed.
        Faulted => "faulted",
        /// Paused by an operator.
        Paused => "paused",
        /// No longer configured: its backlog is kept until it is forgotten.
        Removed => "removed",
    }
}

label_values! {
    /// Where an event stands that its target does not have yet: label `state` of
    /// `tidings_undelivered_events`.
    Undelivered {
        /// Nothing stands in its way.
        Ready => "ready",
        /// Waits for its next attempt, in memory.
        Retrying => "retrying",
        /// Handed to the connector, not settled.
        InFlight => "in_flight",
        /// Its key is stuck; kept aside so that others go on.
        Held => "held",
        /// Its target is paused.
        Paused => "paused",
    }
}

label_values! {
    /// Why an acknowledged event can never be delivered: label `reason` of `tidings_events_lost_total`.
    LossReason {
        /// Its record was damaged, and an operator accepted the loss.
        Corrupt => "corrupt",
        /// The file that held its record is missing.
        Missing => "missing",
    }
}

label_values! {
    /// Why a change was refused (503, or 403 for a quota): label `reason` of `tidings_changes_refused_total`.
    RefuseReason {
        /// The log's own budget or disk is full.
        QueueFull => "queue_full",
        /// A matching target's budget is full, and its rule refuses.
        TargetFull => "target_full",
        /// Its bucket may not hold more.
        Quota => "quota",
        /// Bodies take all that `store.max_bytes` allows.
        StoreFull => "store_full",
        /// The disk is so full that what is kept back for that is in use.
        DiskFull => "disk_full",
        /// Too many changes wait for the index.
        IndexBusy => "index_busy",
        /// The index cannot follow the log; damage, most likely.
        IndexStalled => "index_stalled",
        /// The journal failed; only a restart helps.
        Failed => "failed",
    }
}

label_values! {
    /// Which limit a request or a connection was over: label `limit` of `tidings_requests_limited_total`.
    LimitReached {
        /// `limits.connections_per_address`
        ConnectionsPerAddress => "connections_per_address",
        /// `limits.connections_per_key`
        ConnectionsPerKey => "connections_per_key",
        /// `limits.requests`
        Requests => "requests",
        /// `limits.requests_per_key`
        RequestsPerKey => "requests_per_key",
        /// `limits.uploads`
        Uploads => "uploads",
        /// `limits.uploads_per_key`
        UploadsPerKey => "uploads_per_key",
        /// `limits.open_uploads`
        OpenUploads => "open_uploads",
        /// `limits.open_uploads_per_key`
        OpenUploadsPerKey => "open_uploads_per_key",
    }
}

label_values! {
    /// What came of a fetch from an origin: label `result` of `tidings_origin_fetches_total`.
    OriginResult {
        /// There is an object now, and its event.
        Kept => "kept",
        /// A client made the object meanwhile; the origin's was left alone.
        Superseded => "superseded",
        /// The origin has none either.
        NotFound => "not_found",
        /// The origin failed, or could not be asked.
        Failed => "failed",
        /// There was no room for the object: answered, and not kept.
        NotKept => "not_kept",
        /// Too much was fetched already; nobody was asked.
        Refused => "refused",
    }
}

label_values! {
    /// What came of writing a dead letter: label `result` of `tidings_dead_letter_writes_total`.
    WriteResult {
        /// It is durable.
        Ok => "ok",
        /// It is not; the event stays undelivered.
        Error => "error",
    }
}
