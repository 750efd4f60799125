//! The rows of the table of faults that lie between tidings and its far sides, and in these.
//!
//! Must never hold more than rows.

use super::{Row, row};

pub(super) const NETWORK: &[Row] = &[
    row(
        "F15",
        "partition, one way and both; flapping every second",
        "retries, order kept",
        &[
            "live network::a_partition_that_connections_outlive_loses_nothing",
            "live network::a_network_that_passes_no_requests_loses_nothing",
            "live network::a_network_that_passes_no_answers_loses_nothing",
            "live network::a_network_that_flaps_every_second_loses_nothing",
        ],
        "",
    ),
    row(
        "F16",
        "half-open connections: the peer vanished",
        "noticed within 60 s",
        &[
            "live network::connections_whose_peer_vanished_are_noticed_and_nothing_is_lost",
            "live chaos::tests::every_trouble_is_what_it_says",
        ],
        "",
    ),
    row(
        "F17",
        "reset after the request was sent, before its answer",
        "unknown is sent again",
        &[
            "live network::connections_reset_before_their_answers_lose_nothing",
            "live network::connections_reset_within_requests_lose_nothing",
        ],
        "",
    ),
    row(
        "F18",
        "30 % loss; 64 kbit/s; seconds of latency",
        "slower, and nothing twice or given up",
        &[
            "live network::a_network_that_loses_a_third_of_its_packets_delivers_everything_once",
            "live network::a_network_of_64_kbit_a_second_delivers_everything_once",
            "live network::a_network_with_two_seconds_of_latency_delivers_everything_once",
        ],
        "Losses are the pauses that TCP makes of them: a proxy sees no packets.",
    ),
    row(
        "F19",
        "a name does not resolve, or leads elsewhere",
        "asked again at each connection",
        &["live names::a_name_that_resolves_to_nothing_or_elsewhere_is_asked_again_until_it_is_right"],
        "Seconds instead of 10 minutes.",
    ),
    row(
        "F20",
        "TLS: expired, wrong host, untrusted, our certificate refused",
        "a fault that keeps everything; never in clear",
        &[
            "live faulted::a_server_that_is_not_trusted_gets_nothing_until_its_authority_is",
            "http/tls only_a_receiver_that_proves_its_name_is_called",
            "http/tls a_receiver_may_ask_for_our_certificate",
            "kafka/secure a_broker_that_is_not_trusted_faults_the_target",
            "nats/handshake only_a_certificate_of_the_named_authority_for_this_name_is_trusted",
            "nats/handshake nothing_is_said_in_clear_where_tls_is_configured",
            "amqp/scripted tls::a_broker_is_trusted_by_its_certificate_alone",
        ],
        "",
    ),
    row(
        "F21",
        "a target away for long with traffic, then back",
        "kept on disk, drained in order, others unaffected",
        &[
            "live neighbours::targets_that_hang_drop_everything_or_are_dead_cost_the_live_one_nothing",
            "live stuck::a_dead_target_that_gets_little_does_not_hold_the_log",
            "live several::four_targets_at_once_are_each_complete_with_one_killed_and_one_frozen",
        ],
        "Until the log's budget is written several times instead of 24 hours.",
    ),
];

pub(super) const KAFKA: &[Row] = &[
    row(
        "F22",
        "broker restart, rolling restart, change of leader",
        "no loss, no reordering",
        &[
            "live volume::a_broker_killed_in_the_middle_loses_nothing",
            "live volume::a_broker_that_stands_still_for_half_a_minute_loses_nothing",
            "kafka/mock what_brokers_recover_from_needs_no_second_attempt",
        ],
        "One node: a change of leader is the mock cluster's error, not an election.",
    ),
    row(
        "F23",
        "NotEnoughReplicas, before and after append",
        "waits, goes on by itself",
        &[
            "kafka/mock what_brokers_recover_from_needs_no_second_attempt",
            "kafka/lib error::tests::every_row",
        ],
        "By the mock cluster: one node has no replicas to lose.",
    ),
    row(
        "F24",
        "message too large, invalid record, policy",
        "that event alone is rejected",
        &["kafka/mock a_refused_batch_rejects_the_culprit_alone", "kafka/contract keeps_the_contract"],
        "",
    ),
    row(
        "F25",
        "topic missing, not allowed; SASL failure",
        "a fault of the target",
        &[
            "kafka/mock a_topic_that_may_not_be_written_faults_the_target",
            "kafka/secure a_wrong_secret_faults_the_target_until_its_file_is_repaired",
            "live faulted::wrong_credentials_of_a_kafka_target_keep_everything_until_the_file_is_right",
        ],
        "",
    ),
    row(
        "F26",
        "fatal error of the idempotent producer",
        "a new producer, from the first unacknowledged on, in order",
        &["kafka/mock a_fatal_error_gives_everything_back_and_asks_for_a_new_connector"],
        "",
    ),
    row(
        "F27",
        "more partitions",
        "documented: a key's partition changes",
        &[],
        "Kafka's own: the connector hashes keys as Kafka's producers do. Drain before partitions are added.",
    ),
    row(
        "F28",
        "brokers lose unflushed pages",
        "what is kept here can be sent again",
        &[
            "it console::target_replay_and_test_do_what_they_say",
            "live kills::at_failpoints::kills_while_a_target_goes_back_lose_nothing",
            "sim far::a_lane_goes_back_and_marks_what_it_sends_again",
        ],
        "The replay is shown, not the broker's loss.",
    ),
];

pub(super) const NATS: &[Row] = &[
    row(
        "F29",
        "no responders while a leader is elected",
        "waited for, then a fault",
        &[
            "nats/live a_stream_that_is_away_for_a_moment_is_retried_and_one_that_stays_away_is_a_fault",
            "nats/lib leaderless::tests::a_subject_without_a_taker_is_waited_for_and_then_a_fault",
        ],
        "One node elects nobody: the stream is removed and made again.",
    ),
    row(
        "F30",
        "stream full, limits of the account, no storage",
        "back-pressure",
        &[
            "nats/live a_full_stream_is_retried_and_goes_on_when_there_is_room",
            "nats/lib error::tests::every_row",
        ],
        "",
    ),
    row(
        "F31",
        "stream deleted, sealed, subject not bound, JetStream off",
        "a fault of the target",
        &[
            "live faulted::a_stream_that_is_not_there_keeps_everything_until_somebody_makes_it",
            "nats/live another_stream_than_the_expected_one_gets_nothing",
            "nats/lib error::tests::every_row",
        ],
        "",
    ),
    row(
        "F32",
        "an acknowledgement is lost, sent again with the same id",
        "stored once inside the window",
        &[
            "nats/live a_repeat_is_stored_once_and_two_targets_share_a_stream",
            "live network::a_network_that_passes_no_answers_loses_nothing",
        ],
        "Outside the window a repeat is stored twice: JetStream's own.",
    ),
    row(
        "F33",
        "server killed; three nodes lose power",
        "replay covers what the target loses",
        &["live nats::a_nats_server_killed_in_the_middle_loses_nothing"],
        "One node; a cluster's loss of power is not measured.",
    ),
    row(
        "F34",
        "payload above max_payload; header above 64 KiB",
        "that event alone is rejected",
        &["nats/live what_is_larger_than_the_server_takes_is_rejected_and_the_connection_lives"],
        "Our headers are shorter than 64 KiB.",
    ),
    row(
        "F35",
        "slow consumer, lame duck, expired authentication",
        "connects again, no loss",
        &[
            "nats/lib connect::tests::a_lost_connection_is_not_made_again_behind_the_lanes_back",
            "nats/live a_wrong_password_is_a_fault_that_heals_without_a_restart",
            "live nats::a_nats_server_that_stands_still_for_half_a_minute_loses_nothing",
        ],
        "Lame duck mode is not driven: it ends as a closed connection.",
    ),
];

pub(super) const AMQP: &[Row] = &[
    row(
        "F36",
        "nack: the queue is full",
        "tried again",
        &[
            "amqp/scripted a_refused_message_is_tried_again",
            "amqp/lib returns::tests::a_refused_message_is_not_delivered",
        ],
        "",
    ),
    row(
        "F37",
        "unroutable: first, middle or last of a batch, acknowledged together",
        "exactly that event is held",
        &[
            "amqp/scripted one_return_among_six_acknowledged_together_is_the_only_one_not_delivered",
            "amqp/contract exactly_the_unroutable_ones_are_not_delivered",
            "amqp/lib returns::tests::one_return_among_six_that_were_acknowledged_together",
        ],
        "",
    ),
    row(
        "F38",
        "channel closed 404, 403, 406, 530; connection closed 320",
        "unconfirmed is sent again; 406 is isolated",
        &[
            "amqp/scripted the_culprit_of_a_closed_channel_is_found_and_rejected_alone",
            "amqp/scripted a_forbidden_exchange_faults_the_target",
            "amqp/contract an_exchange_that_goes_away_faults_the_target_and_its_return_mends_it",
            "amqp/lib error::tests::every_code",
        ],
        "",
    ),
    row(
        "F39",
        "memory alarm: the connection is blocked",
        "publishing stops and goes on, nothing is given up",
        &[
            "live rabbitmq::a_rabbitmq_without_memory_is_waited_for_and_loses_nothing",
            "amqp/scripted a_broker_that_blocks_publishers_slows_the_target_down_and_loses_nothing",
        ],
        "",
    ),
    row(
        "F40",
        "node killed; quorum lost",
        "waits, no loss",
        &[
            "live rabbitmq::a_rabbitmq_with_a_quorum_queue_killed_in_the_middle_loses_nothing",
            "live rabbitmq::a_rabbitmq_with_a_quorum_queue_that_stands_still_loses_nothing",
        ],
        "One node: without it there is no quorum; partitions of a cluster are not tested.",
    ),
    row(
        "F41",
        "confirms never arrive",
        "given up, connected again, sent again",
        &[
            "amqp/scripted a_confirmation_that_does_not_come_is_given_up_and_the_others_go_on",
            "live network::a_network_that_passes_no_answers_loses_nothing",
        ],
        "",
    ),
];

pub(super) const HTTP: &[Row] = &[
    row(
        "F42",
        "429 and 503 with Retry-After: seconds, date, absurd, negative, garbage",
        "kept to, capped at an hour, ignored if it is none",
        &[
            "http/lib error::tests::retry_after_forms",
            "http/contract a_receiver_that_is_busy_is_given_the_time_it_asks_for",
            "lib delivery::tests::faults::a_wish_to_wait_is_kept_and_capped",
        ],
        "",
    ),
    row(
        "F43",
        "storms of 500, 502, 504; 200 after five failures",
        "backoff with jitter, order kept",
        &[
            "lib delivery::tests::health::failures_across_keys_put_the_target_down_with_one_probe_at_a_time",
            "lib delivery::backoff::tests::stays_within_its_bounds_and_doubles",
            "live stuck::a_key_that_nobody_takes_holds_neither_the_log_nor_other_keys_nor_memory",
        ],
        "",
    ),
    row(
        "F44",
        "400, 413, 415, 422 for one event",
        "that event alone is given up",
        &[
            "http/lib error::tests::only_the_listed_statuses_are_rejected_or_delivered",
            "lib delivery::tests::letters::a_rejected_event_is_buried_and_its_key_goes_on",
            "lib delivery::tests::letters::a_storm_buries_nothing",
        ],
        "",
    ),
    row(
        "F45",
        "401, 403, 404, 410",
        "a fault; 410 leaves the receiver alone, events kept",
        &[
            "http/lib error::tests::every_row",
            "it targets::a_receiver_that_says_gone_is_left_alone_until_it_is_resumed_after_a_restart_too",
            "it targets::\
             a_wrong_secret_faults_the_target_until_its_file_is_repaired_and_nobody_restarts_anything",
        ],
        "",
    ),
    row(
        "F46",
        "redirects, also to link-local addresses",
        "never followed",
        &["http/contract a_redirect_is_not_followed", "http/lib error::tests::every_row"],
        "",
    ),
    row(
        "F47",
        "slow headers, slow, endless and huge bodies, early close",
        "a deadline over all; 2xx with its headers is delivered",
        &[
            "http/hostile drops_of_an_answer_end_with_the_timeout",
            "http/hostile a_body_that_never_ends_changes_no_answer",
            "http/hostile an_endless_answer_is_let_go",
            "http/hostile floods_end",
        ],
        "",
    ),
    row(
        "F48",
        "an answer before the request was read, two answers, HTTP/1.0, garbage",
        "no event takes another one's answer",
        &[
            "http/desync an_answer_too_many_is_no_answer_to_the_next_event",
            "http/desync an_answer_before_the_request_was_read_is_an_answer_to_it_alone",
            "http/desync an_older_protocol_is_understood",
            "http/hostile what_is_no_answer_is_tried_again",
        ],
        "",
    ),
    row(
        "F49",
        "renegotiation, GOAWAY, RST_STREAM",
        "sent again",
        &["http/hostile another_protocol_is_not_an_answer"],
        "Only HTTP/1.1 is offered and spoken: there are no streams, and TLS 1.3 knows no renegotiation.",
    ),
];
