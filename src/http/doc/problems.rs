//! Which errors each operation can answer with: statuses and their codes.
//!
//! Promises: every answer that a test of the front door gets is declared here; the tests compare.

/// A status, and the codes that come with it.
pub(super) type Errors = (u16, &'static [&'static str]);

/// Of every request: what the gate and the reading of queries refuse.
const EVERY: &[Errors] = &[(400, &["invalid"]), (503, &["overloaded", "unavailable"])];
/// Of what a group answers.
const GROUP: &[Errors] = &[(500, &["internal"]), (504, &["undetermined"])];
/// Of what belongs to a namespace.
const SPACE: &[Errors] =
    &[(404, &["namespace_not_found"]), (422, &["mode_unsupported"]), (503, &["switching"])];
/// Of what names a key.
const KEY: &[Errors] = &[(414, &["key_too_long"])];
/// Of what has a body.
const BODY: &[Errors] =
    &[(408, &["request_timeout"]), (413, &["too_large"]), (415, &["unsupported_media_type"])];
/// Of reads.
const READ: &[Errors] = &[(404, &["key_not_found"]), (503, &["session_behind", "too_stale"])];
/// Of conditions.
const CONDITION: &[Errors] = &[(412, &["precondition_failed"])];
/// Of what takes an idempotency key.
const ONCE: &[Errors] = &[(422, &["idempotency_mismatch"])];
/// Of what makes data grow, or hangs keys on leases.
const GROW: &[Errors] =
    &[(404, &["lease_not_found"]), (409, &["lease_keys_exceeded"]), (507, &["quota_exceeded"])];
/// Of patches.
const PATCH: &[Errors] = &[(409, &["patch_conflict"]), (422, &["patch_invalid"])];
/// Of leases.
const LEASE: &[Errors] = &[(404, &["lease_not_found"])];
/// Of what makes leases.
const LEASED: &[Errors] = &[(409, &["lease_exists", "leases_exceeded"])];
/// Of transactions.
const TXN: &[Errors] = &[(422, &["cross_group", "duplicate_key"])];
/// Of watches.
const WATCH: &[Errors] = &[
    (400, &["invalid_cursor"]),
    (406, &["not_acceptable"]),
    (410, &["history_trimmed", "view_gone"]),
    (422, &["watch_off"]),
    (503, &["too_many_watches"]),
];
/// Of writes to eventual namespaces.
const MANY: &[Errors] = &[
    (409, &["patch_conflict", "too_many_siblings", "read_replica"]),
    (422, &["patch_invalid"]),
    (503, &["session_behind"]),
    (504, &["unacknowledged"]),
];
/// Of what only eventual namespaces have.
const LOSS: &[Errors] = &[(503, &["session_behind"])];
/// Of links that are asked to carry.
const LINK: &[Errors] = &[(404, &["link_not_found"]), (409, &["link_not_manual"])];
/// Of copies that are taken in.
const COPY: &[Errors] = &[
    (408, &["request_timeout"]),
    (409, &["copy_gap", "copy_mismatch", "read_replica"]),
    (415, &["unsupported_media_type"]),
    (422, &["copy_damaged"]),
];
/// Of changes of the catalog.
const CATALOG: &[Errors] = &[(400, &["refused"]), (409, &["refused"])];

/// The errors of an operation, by its id; `None` when nobody has said them.
pub(super) fn of(operation: &str) -> Option<Vec<&'static [Errors]>> {
    let errors: &[&'static [Errors]] = match operation {
        "get_key" | "head_key" => &[EVERY, GROUP, SPACE, KEY, READ, CONDITION],
        "put_key" => &[EVERY, GROUP, SPACE, KEY, BODY, CONDITION, ONCE, GROW, MANY],
        "delete_key" => &[EVERY, GROUP, SPACE, KEY, READ, CONDITION, ONCE, GROW, MANY],
        "patch_key" => &[EVERY, GROUP, SPACE, KEY, BODY, CONDITION, ONCE, GROW, PATCH, MANY],
        "import_copy" => &[EVERY, GROUP, SPACE, COPY],
        "get_convergence" | "get_vector" | "export_copy" | "trace" => &[EVERY, GROUP, SPACE],
        "ask_pass" => &[EVERY, GROUP, SPACE, LINK],
        "get_receipt" | "get_conflict_totals" => &[EVERY, GROUP, SPACE, KEY, LOSS],
        "list_conflicts" => &[
            EVERY,
            GROUP,
            SPACE,
            LOSS,
            &[(400, &["invalid_cursor"]), (406, &["not_acceptable"]), (410, &["history_trimmed"])],
            &[(503, &["too_many_watches"])],
        ],
        "restore_conflict" => &[EVERY, GROUP, SPACE, KEY, MANY, &[(409, &["nothing_to_restore"])]],
        "txn" => &[EVERY, GROUP, SPACE, KEY, BODY, CONDITION, ONCE, GROW, PATCH, TXN],
        "scan" => &[
            EVERY,
            GROUP,
            SPACE,
            LOSS,
            &[(400, &["invalid_cursor"]), (406, &["not_acceptable"]), (410, &["view_gone"])],
        ],
        "delete_prefix" => {
            &[EVERY, GROUP, SPACE, MANY, &[(410, &["view_gone"]), (428, &["confirmation_missing"])]]
        }
        "watch" => &[EVERY, GROUP, SPACE, WATCH],
        "batch" => &[EVERY, SPACE, &[(415, &["unsupported_media_type"])]],
        "acquire_lock" => &[
            EVERY,
            GROUP,
            SPACE,
            KEY,
            BODY,
            ONCE,
            LEASE,
            LEASED,
            &[(409, &["lock_held", "lock_not_held", "lock_queue_full", "lease_keys_exceeded"])],
        ],
        "get_lock" => &[EVERY, GROUP, SPACE, KEY],
        "release_lock" => &[EVERY, GROUP, SPACE, KEY, ONCE, LEASE, &[(409, &["lock_not_held"])]],
        "list_namespaces" => &[EVERY],
        "create_namespace" => &[
            EVERY,
            GROUP,
            BODY,
            ONCE,
            CATALOG,
            &[(409, &["namespace_exists", "namespace_deleted"])],
        ],
        "get_namespace" => &[EVERY, SPACE],
        "change_namespace" => {
            &[EVERY, GROUP, SPACE, BODY, ONCE, CATALOG, &[(409, &["namespace_deleted"])]]
        }
        "delete_namespace" => &[EVERY, GROUP, SPACE, ONCE, CATALOG],
        "grant_lease" => &[EVERY, GROUP, SPACE, KEY, BODY, ONCE, LEASED],
        "get_lease" | "renew_lease" => &[EVERY, GROUP, LEASE],
        "end_lease" => &[EVERY, GROUP, LEASE, ONCE],
        "get_limits" | "openapi" | "get_cluster" => &[EVERY],
        "get_digest" => &[EVERY, &[(500, &["internal"])]],
        "add_node" | "replace_node" => &[EVERY, GROUP, BODY, CATALOG, &[(404, &["refused"])]],
        "get_route" => &[EVERY, SPACE, KEY],
        "livez" | "metrics" => &[&[(400, &["invalid"])]],
        "readyz" => &[&[(400, &["invalid"]), (503, &["not_ready"])]],
        _ => return of_switches(operation),
    };
    Some(errors.to_vec())
}

/// Of switches to the other side.
fn of_switches(operation: &str) -> Option<Vec<&'static [Errors]>> {
    let errors: &[&'static [Errors]] = match operation {
        "begin_switch" => &[
            EVERY,
            GROUP,
            SPACE,
            BODY,
            ONCE,
            CATALOG,
            &[(404, &["no_switch"]), (409, &["switch_blocked"])],
        ],
        "check_switch" => &[EVERY, GROUP, SPACE, BODY],
        "get_switch" => &[EVERY, GROUP, SPACE, &[(404, &["no_switch"])]],
        "cancel_switch" => &[EVERY, GROUP, SPACE, ONCE, CATALOG, &[(404, &["no_switch"])]],
        _ => return None,
    };
    Some(errors.to_vec())
}
