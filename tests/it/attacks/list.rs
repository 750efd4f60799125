//! The 70 attacks. Must never be shortened: a row that has nothing to attack says why.

use super::Shown::{self, By, Not};

/// Every attack, in its order: A1 is the first one. Files without a folder are the frontend's.
pub(super) const ATTACKS: &[(&str, Shown)] = &[
    (
        "a garbage signature over any kind of body, on every route",
        By(&[
            "every_route.rs::no_operation_is_done_for_a_signature_that_is_wrong",
            "attacks.rs::a_garbage_signature_is_refused_on_every_write",
        ]),
    ),
    (
        "the same with the credential in the query",
        By(&["every_route.rs::no_operation_is_done_for_a_signature_that_is_wrong"]),
    ),
    (
        "a signature in the header and one in the query",
        By(&[
            "src/frontend/guard/tests.rs::exactly_one_authentication",
            "src/frontend/guard/qsign/tests.rs::exactly_one_signature",
            "every_route.rs::no_operation_is_done_for_a_signature_that_is_wrong",
        ]),
    ),
    (
        "nobody, on every route and method",
        By(&[
            "attacks.rs::anonymous_requests_are_refused",
            "every_route.rs::no_operation_is_done_for_a_signature_that_is_wrong",
        ]),
    ),
    (
        "other algorithms",
        By(&[
            "src/frontend/guard/tests.rs::only_sigv4",
            "src/frontend/guard/qsign/tests.rs::the_fields_have_one_form",
        ]),
    ),
    (
        "headers that are there and not signed",
        By(&[
            "src/frontend/guard/tests.rs::every_amz_header_is_signed",
            "src/frontend/guard/qsign/tests.rs::all_that_matters_is_listed",
            "attacks.rs::unsigned_headers_change_nothing",
        ]),
    ),
    (
        "dates that are old, early or too long",
        By(&[
            "src/frontend/guard/tests/dates.rs::dates_are_within_their_bounds",
            "src/frontend/guard/qsign/tests.rs::times_are_within_their_bounds",
        ]),
    ),
    (
        "another region, service or day (COS signs none of them)",
        By(&[
            "src/frontend/guard/tests.rs::the_scope_is_ours",
            "every_route.rs::no_operation_is_done_for_a_signature_that_is_wrong",
        ]),
    ),
    (
        "a body that nothing signs, or another than was signed",
        By(&[
            "src/frontend/guard/tests/payloads.rs::unsigned_bodies_come_from_this_machine_only",
            "src/frontend/guard/qsign/tests.rs::bodies_are_covered",
            "bodies.rs::declared_checksums_are_compared",
            "cos.rs::a_body_that_does_not_fit_its_md5_is_not_stored",
        ]),
    ),
    (
        "broken chunks and trailers (COS knows none, and refuses their headers)",
        By(&[
            "bodies.rs::broken_signed_chunks_store_nothing",
            "bodies.rs::broken_trailers_store_nothing",
            "src/frontend/chunks.rs::broken_framing_is_refused",
            "every_route.rs::no_operation_is_done_for_a_signature_that_is_wrong",
        ]),
    ),
    (
        "the time that a comparison takes",
        By(&["tests/it/attacks.rs::what_is_compared_with_a_secret_takes_one_time"]),
    ),
    (
        "odd and unknown access keys",
        By(&[
            "src/frontend/guard/tests.rs::odd_access_keys_are_unknown",
            "attacks.rs::only_the_right_secret_opens",
            "tests/it/secrets.rs::no_secret_is_told_whoever_asks_and_whatever_fails",
        ]),
    ),
    (
        "what must come once and comes twice",
        By(&[
            "src/frontend/guard/tests.rs::nothing_comes_twice",
            "src/frontend/guard/qsign/tests.rs::lists_have_one_reading",
        ]),
    ),
    (
        "a path that is signed in one spelling and used in another",
        By(&[
            "src/frontend/guard/tests.rs::paths_have_one_reading",
            "attacks.rs::a_signature_covers_what_it_is_used_for",
            "src/frontend/guard/qsign/tests.rs::a_signature_covers_what_it_is_used_for",
        ]),
    ),
    (
        "keys that are gone or changed",
        By(&[
            "access.rs::a_removed_credential_is_void_and_so_are_its_urls",
            "tests/it/credentials.rs::a_reload_changes_who_may_do_what",
        ]),
    ),
    (
        "a start without credentials",
        By(&[
            "tests/it/secrets.rs::nothing_starts_with_credentials_that_protect_nothing",
            "src/config/credentials/tests.rs::the_first_start_makes_a_pair_and_the_second_reads_it",
        ]),
    ),
    (
        "every operation on a bucket of somebody else, by every name and header",
        By(&[
            "access.rs::every_operation_asks_for_its_scope_in_its_bucket",
            "access.rs::no_spelling_leads_to_a_forbidden_bucket",
            "every_route.rs::no_header_opens_a_bucket_of_somebody_else",
        ]),
    ),
    (
        "a copy of what may not be read",
        By(&[
            "access.rs::nothing_is_copied_from_a_bucket_that_may_not_be_read",
            "cos.rs::a_copy_needs_its_source",
            "tests/clients/bad.py::forbidden",
        ]),
    ),
    (
        "versions without the right to them (a scope covers all versions of its buckets)",
        By(&["every_route.rs::versions_and_lists_need_the_scope_that_their_bucket_needs"]),
    ),
    (
        "a list of keys of which some are forbidden (scopes are of buckets: all or none)",
        By(&[
            "every_route.rs::versions_and_lists_need_the_scope_that_their_bucket_needs",
            "objects.rs::many_keys_are_deleted_each_for_itself",
        ]),
    ),
    (
        "forms that their policy does not allow",
        By(&[
            "forms.rs::what_the_policy_does_not_allow_does_not_happen",
            "forms.rs::a_form_that_is_touched_is_none",
        ]),
    ),
    ("names of the server's own", By(&["names.rs::no_bucket_has_a_name_of_the_servers_own"])),
    (
        "headers of the server's own",
        By(&[
            "src/frontend/guard/tests.rs::what_is_ours_stays_ours",
            "attacks.rs::unsigned_headers_change_nothing",
            "every_route.rs::no_operation_is_done_for_a_signature_that_is_wrong",
        ]),
    ),
    (
        "headers that say where a request comes from",
        By(&[
            "attacks.rs::the_peer_is_the_socket",
            "every_route.rs::no_header_opens_a_bucket_of_somebody_else",
        ]),
    ),
    (
        "headers named like words of a policy",
        By(&["every_route.rs::no_header_opens_a_bucket_of_somebody_else"]),
    ),
    (
        "each listener's proof at the other one, and targets that nobody configured",
        By(&[
            "tests/it/secrets.rs::no_secret_is_told_whoever_asks_and_whatever_fails",
            "notification.rs::what_means_nothing_is_refused_and_changes_nothing",
            "notification_cos.rs::who_may_not_put_rules_may_not_in_the_words_of_cos_either",
        ]),
    ),
    (
        "credentials in what is shown of targets (one token shows all of them: there are no lesser readers)",
        By(&[
            "tests/it/secrets.rs::no_secret_is_told_whoever_asks_and_whatever_fails",
            "connectors/nats/src/config_tests.rs::where_a_secret_is_shows_and_the_secret_does_not",
            "connectors/http/src/config_tests.rs::secrets_are_read_and_never_shown",
        ]),
    ),
    (
        "keys that are paths elsewhere",
        By(&[
            "objects.rs::odd_keys_are_stored_exactly",
            "names.rs::odd_keys_are_stored_exactly_by_cos_too",
            "tests/clients/bad.py::keys",
        ]),
    ),
    (
        "a link planted in the data directory",
        Not(
            "who may write there is the server's own user and could replace any file; files with secrets are \
             made beside and renamed, and refused where others may write them",
        ),
    ),
    (
        "names that no bucket may have",
        By(&[
            "names.rs::no_bucket_has_a_name_of_the_servers_own",
            "src/frontend/names.rs::bucket_names_follow_the_rules",
        ]),
    ),
    (
        "an archive that unpacks itself",
        By(&["names.rs::an_archive_is_an_object", "src/functions/code.rs::no_path_leaves_the_folder"]),
    ),
    (
        "keys as subjects of NATS",
        By(&[
            "connectors/api/src/template.rs::a_placeholder_is_one_token_of_a_subject",
            "connectors/api/src/template.rs::a_subject_that_no_event_could_have_is_refused_early",
        ]),
    ),
    (
        "long keys as routing keys of AMQP",
        By(&[
            "connectors/api/src/template.rs::a_placeholder_is_one_word_of_a_routing_key",
            "connectors/amqp/src/message.rs::what_cannot_travel_is_refused",
        ]),
    ),
    (
        "keys in headers and addresses of targets",
        By(&[
            "src/encode/tests.rs::any_text_is_legal_in_every_binding_and_comes_back",
            "src/encode/percent.rs::each_place_has_its_own_characters",
            "connectors/http/src/config_tests.rs::urls",
        ]),
    ),
    (
        "keys that steer a terminal",
        By(&[
            "src/cli/paint.rs::no_text_steers_the_terminal",
            "tests/it/secrets.rs::no_secret_is_told_whoever_asks_and_whatever_fails",
        ]),
    ),
    (
        "a million names in the metrics",
        By(&["src/metrics/tests.rs::labels_are_closed_or_chosen_by_operators"]),
    ),
    ("documents that are made to hurt", By(&["attacks.rs::hostile_xml_is_refused"])),
    (
        "lists that are too long or out of order",
        By(&[
            "objects.rs::many_keys_are_deleted_each_for_itself",
            "multipart.rs::wrong_lists_are_refused_as_the_specification_says",
            "notification.rs::what_means_nothing_is_refused_and_changes_nothing",
        ]),
    ),
    (
        "elements that our documents do not have",
        By(&[
            "notification.rs::what_means_nothing_is_refused_and_changes_nothing",
            "notification_cos.rs::what_is_not_understood_is_refused_and_changes_nothing",
            "origin_rules.rs::what_is_no_origin_is_refused_and_changes_nothing",
        ]),
    ),
    ("compressed documents and bodies", By(&["names.rs::nothing_is_decompressed"])),
    (
        "malformed HTTP",
        By(&[
            "attacks.rs::malformed_http_is_refused",
            "attacks.rs::nothing_is_smuggled_behind_a_body_with_two_lengths",
        ]),
    ),
    (
        "requests smuggled through a proxy in front (what two readers could read differently ends its \
         connection; no proxy is run in front here)",
        By(&[
            "attacks.rs::nothing_is_smuggled_behind_a_body_with_two_lengths",
            "attacks.rs::nothing_follows_a_body_that_was_refused_before_it_came",
        ]),
    ),
    ("heads that are too large", By(&["attacks.rs::malformed_http_is_refused"])),
    (
        "clients that are slow, or too many",
        By(&[
            "serving.rs::slow_heads_are_cut",
            "serving.rs::still_bodies_are_cut",
            "serving.rs::connections_beyond_the_bound_wait",
            "limits.rs::connections_are_limited_by_key_and_by_address",
            "src/tls/tests.rs::handshakes_that_hang_end_and_make_room",
            "src/admin/tests/listener.rs::slow_headers_and_full_slots_are_bounded",
        ]),
    ),
    (
        "bodies that end early, late or otherwise",
        By(&[
            "bodies.rs::a_client_that_leaves_stores_nothing",
            "bodies.rs::bodies_are_asked_for_only_when_there_is_space",
            "bodies.rs::declared_checksums_are_compared",
        ]),
    ),
    (
        "floods by HTTP/2 (it is not spoken)",
        By(&["src/tls/tests.rs::only_http_1_is_offered", "attacks.rs::malformed_http_is_refused"]),
    ),
    (
        "a thousand ranges, a megabyte of conditions",
        By(&["conditions.rs::ranges_are_exact", "attacks.rs::malformed_http_is_refused"]),
    ),
    (
        "uploads that nobody completes",
        By(&[
            "limits.rs::open_uploads_are_limited_and_counted_over_restarts",
            "multipart.rs::aborted_and_expired_uploads_and_overwritten_objects_leave_no_file",
        ]),
    ),
    ("headers out of values", By(&["names.rs::no_header_comes_from_a_value"])),
    (
        "an object as a page (there is no console on its origin)",
        By(&["objects.rs::an_object_comes_back_with_its_headers_and_makes_one_event"]),
    ),
    (
        "addresses of the inside as targets",
        By(&[
            "connectors/common/src/addresses.rs::some_addresses_are_never_called",
            "connectors/common/src/addresses.rs::private_addresses_are_called_only_where_that_is_allowed",
            "connectors/origin/tests/attacks.rs::\
             an_address_that_may_not_be_called_is_not_however_it_is_written",
        ]),
    ),
    (
        "the same in every other spelling",
        By(&[
            "connectors/http/src/config_tests.rs::\
             an_address_that_may_not_be_called_is_refused_however_it_is_written",
            "src/functions/elsewhere.rs::no_spelling_of_an_inner_address_is_taken",
        ]),
    ),
    (
        "a name that leads elsewhere when it is dialled",
        By(&[
            "connectors/common/src/addresses.rs::of_a_names_addresses_only_those_that_may_be_called_are_left",
            "connectors/http/tests/sending.rs::a_name_that_leads_to_a_private_address_is_not_called",
        ]),
    ),
    (
        "redirects",
        By(&[
            "connectors/http/tests/contract.rs::a_redirect_is_not_followed",
            "connectors/origin/tests/attacks.rs::a_redirect_leads_nowhere_that_may_not_be_called",
        ]),
    ),
    ("other schemes, users in addresses", By(&["connectors/http/src/config_tests.rs::urls"])),
    ("proxies of the environment", By(&["tests/it/proxies.rs::proxies_of_the_environment_are_not_used"])),
    (
        "a receiver that repeats our secrets, or never ends",
        By(&[
            "connectors/http/tests/hostile.rs::what_a_receiver_says_is_repeated_nowhere",
            "connectors/http/tests/hostile.rs::an_endless_answer_is_let_go",
            "tests/it/secrets.rs::no_secret_is_told_whoever_asks_and_whatever_fails",
        ]),
    ),
    (
        "a signature of ours, sent again",
        By(&["connectors/http/tests/sending.rs::\
             requests_are_signed_with_every_secret_and_the_time_of_the_attempt"]),
    ),
    (
        "far sides that are not who they say",
        By(&[
            "connectors/http/tests/tls.rs::only_a_receiver_that_proves_its_name_is_called",
            "connectors/amqp/tests/scripted/tls.rs::a_broker_is_trusted_by_its_certificate_alone",
            "connectors/nats/tests/handshake.rs::\
             only_a_certificate_of_the_named_authority_for_this_name_is_trusted",
            "connectors/nats/tests/handshake.rs::nothing_is_said_in_clear_where_tls_is_configured",
            "connectors/kafka/tests/secure.rs::a_broker_that_is_not_trusted_faults_the_target",
        ]),
    ),
    (
        "somebody else's broker as a target (operators declare targets; who may name addresses may name \
         public ones)",
        By(&[
            "notification.rs::what_means_nothing_is_refused_and_changes_nothing",
            "tests/functions/urls.rs::addresses_that_no_list_names_are_not_called",
        ]),
    ),
    (
        "secrets in logs, metrics, answers and files",
        By(&[
            "tests/it/secrets.rs::no_secret_is_told_whoever_asks_and_whatever_fails",
            "src/config/tests/text.rs::a_secret_typed_into_the_wrong_place_is_not_repeated",
            "src/config/credentials/tests.rs::a_malformed_file_is_refused_without_quoting_it",
            "src/admin/tests/audit.rs::a_line_says_what_was_asked_for_and_neither_key_nor_token",
        ]),
    ),
    (
        "the admin API by browsers, other names and guesses",
        By(&[
            "src/admin/tests.rs::every_route_admits_only_whom_its_row_names",
            "src/admin/tests.rs::a_denied_change_changes_nothing_and_leaves_no_line",
            "tests/it/secrets.rs::no_secret_is_told_whoever_asks_and_whatever_fails",
            "src/admin/tests/scf.rs::what_is_changed_after_it_was_signed_is_refused",
        ]),
    ),
    (
        "configurations that are wrong, huge or readable by others (secrets stand in files of their own)",
        By(&[
            "src/config/tests.rs::everything_wrong_is_told_at_once",
            "src/config/tests/text.rs::hostile_keys_are_told_not_obeyed",
            "src/config/tests/text.rs::syntax_errors_have_a_place",
            "src/config/tests/text.rs::a_file_that_cannot_be_read_is_one_sentence",
            "src/config/credentials/tests.rs::a_file_that_others_may_read_is_refused",
        ]),
    ),
    (
        "a reload that is wrong, or takes a target's events away",
        By(&[
            "tests/it/targets.rs::a_removed_target_keeps_its_backlog_until_it_is_added_again_or_forgotten",
            "tests/it/credentials.rs::a_reload_changes_who_may_do_what",
            "tests/it/console.rs::reload_sighup_and_forget_change_the_targets_of_a_running_server",
        ]),
    ),
    (
        "metrics and debugging for everybody",
        By(&[
            "src/admin/tests.rs::every_route_admits_only_whom_its_row_names",
            "src/admin/tests.rs::unknown_paths_and_methods_tell_nothing_without_the_token",
        ]),
    ),
    (
        "dead letters of somebody else (one token for all; a letter goes to its own target only)",
        By(&[
            "src/admin/tests/dead.rs::dead_letters_are_listed_shown_replayed_and_purged",
            "tests/it/dlq.rs::letters_are_chosen_by_offset_class_time_and_object",
        ]),
    ),
    (
        "a neighbour who fills everything",
        By(&[
            "tests/it/targets.rs::a_full_budget_refuses_its_own_changes_with_a_sentence_and_nothing_happens",
            "limits.rs::one_key_cannot_take_the_uploads_of_another",
            "quota.rs::a_bucket_holds_what_its_quota_says_and_no_more",
        ]),
    ),
    (
        "a log that somebody made (fuzzed too: `journal`, `entry`)",
        By(&[
            "tests/it/forged.rs::records_in_a_body_are_never_replayed",
            "src/queue/dead/tests.rs::no_input_panics",
            "src/store/embedded/tests/faults.rs::no_bytes_at_all_make_decoding_panic",
        ]),
    ),
    (
        "a panic",
        By(&[
            "objects.rs::a_panic_is_an_answer",
            "src/delivery/tests/faults.rs::a_panic_of_the_connector_is_contained",
        ]),
    ),
    (
        "a dependency from elsewhere, under another licence, with code that runs where it is built",
        By(&[
            "tests/it/supply.rs::every_crate_comes_from_the_registry_with_its_checksum",
            "tests/it/supply.rs::nothing_is_built_that_is_banned_or_under_another_licence",
            "tests/it/supply.rs::no_crate_runs_a_build_script_that_nobody_looked_at",
        ]),
    ),
];
