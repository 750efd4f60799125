//! The routes of the admin listener, as one table.
//!
//! Must never hold a handler: a row says who may do what, `service.rs` does it.

/// One route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// `GET` or `POST`.
    pub method: Verb,
    /// The path, with `{name}` for a target's name, `{bucket}` for a bucket's, `{function}` for a
    /// function's and `{offset}` for a dead letter's.
    pub path: &'static str,
    /// What it does.
    pub action: Action,
    /// Who may.
    pub access: Access,
}

/// The methods that routes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads.
    Get,
    /// Changes.
    Post,
}

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever has the token.
    Token,
    /// Also whoever asks from this machine, under a name of this machine.
    OpenOnLoopback,
    /// Whoever signs as Tencent Cloud's API wants it, with a credential that may: `scf/` decides.
    Signed,
}

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The process answers.
    Live,
    /// Changes can be accepted durably.
    Ready,
    /// A scrape.
    Metrics,
    /// Every target.
    TargetList,
    /// One target.
    TargetShow,
    /// Stops delivery to a target; everything is kept.
    TargetPause,
    /// Goes on with it.
    TargetResume,
    /// Dead letters of a target.
    DeadList,
    /// One of them.
    DeadShow,
    /// Sends dead letters again.
    DeadReplay,
    /// Purges dead letters.
    DeadPurge,
    /// Goes on without dead letters that are missing.
    DeadAccept,
    /// Delivers everything from an offset or a time on once more.
    TargetReplay,
    /// Sends one sample event through a target's connector.
    TargetTest,
    /// Gives up a target that is not configured any more.
    TargetForget,
    /// Reads the configuration anew.
    Reload,
    /// Every bucket.
    BucketList,
    /// Sets what a bucket may hold.
    BucketQuota,
    /// Every function.
    FunctionList,
    /// One function.
    FunctionShow,
    /// Makes a function.
    FunctionCreate,
    /// Changes a function.
    FunctionUpdate,
    /// Removes a function.
    FunctionRemove,
    /// Runs a function with one event.
    FunctionInvoke,
    /// What became of a function's runs.
    FunctionLogs,
    /// Events to try functions with, and functions to begin with.
    FunctionTemplates,
    /// Every rule.
    RuleList,
    /// Every trigger of a function.
    TriggerList,
    /// Adds a trigger.
    TriggerAdd,
    /// Lets a trigger match again.
    TriggerEnable,
    /// Lets a trigger match nothing.
    TriggerDisable,
    /// Removes a trigger.
    TriggerRemove,
    /// The journal in numbers.
    JournalStat,
    /// What bodies take, and damage that was found.
    StoreStat,
    /// This table as an OpenAPI document.
    OpenApi,
    /// The API of Tencent Cloud SCF.
    Scf,
}

const fn route(method: Verb, path: &'static str, action: Action, access: Access) -> Route {
    Route { method, path, action, access }
}

/// Every route of the admin listener.
pub const ROUTES: &[Route] = &[
    route(Verb::Get, "/livez", Action::Live, Access::OpenOnLoopback),
    route(Verb::Get, "/readyz", Action::Ready, Access::OpenOnLoopback),
    route(Verb::Get, "/metrics", Action::Metrics, Access::OpenOnLoopback),
    route(Verb::Get, "/v1/targets", Action::TargetList, Access::Token),
    route(Verb::Get, "/v1/targets/{name}", Action::TargetShow, Access::Token),
    route(Verb::Post, "/v1/targets/{name}/pause", Action::TargetPause, Access::Token),
    route(Verb::Post, "/v1/targets/{name}/resume", Action::TargetResume, Access::Token),
    route(Verb::Get, "/v1/targets/{name}/dead-letters", Action::DeadList, Access::Token),
    route(Verb::Get, "/v1/targets/{name}/dead-letters/{offset}", Action::DeadShow, Access::Token),
    route(Verb::Post, "/v1/targets/{name}/dead-letters/replay", Action::DeadReplay, Access::Token),
    route(Verb::Post, "/v1/targets/{name}/dead-letters/purge", Action::DeadPurge, Access::Token),
    route(Verb::Post, "/v1/targets/{name}/dead-letters/accept-loss", Action::DeadAccept, Access::Token),
    route(Verb::Post, "/v1/targets/{name}/replay", Action::TargetReplay, Access::Token),
    route(Verb::Post, "/v1/targets/{name}/test", Action::TargetTest, Access::Token),
    route(Verb::Post, "/v1/targets/{name}/forget", Action::TargetForget, Access::Token),
    route(Verb::Post, "/v1/reload", Action::Reload, Access::Token),
    route(Verb::Get, "/v1/buckets", Action::BucketList, Access::Token),
    route(Verb::Post, "/v1/buckets/{bucket}/quota", Action::BucketQuota, Access::Token),
    route(Verb::Get, "/v1/functions", Action::FunctionList, Access::Token),
    route(Verb::Get, "/v1/functions/{function}", Action::FunctionShow, Access::Token),
    route(Verb::Post, "/v1/functions/{function}/create", Action::FunctionCreate, Access::Token),
    route(Verb::Post, "/v1/functions/{function}/update", Action::FunctionUpdate, Access::Token),
    route(Verb::Post, "/v1/functions/{function}/remove", Action::FunctionRemove, Access::Token),
    route(Verb::Post, "/v1/functions/{function}/invoke", Action::FunctionInvoke, Access::Token),
    route(Verb::Get, "/v1/functions/{function}/logs", Action::FunctionLogs, Access::Token),
    route(Verb::Get, "/v1/function-templates", Action::FunctionTemplates, Access::Token),
    route(Verb::Get, "/v1/rules", Action::RuleList, Access::Token),
    route(Verb::Get, "/v1/triggers", Action::TriggerList, Access::Token),
    route(Verb::Post, "/v1/triggers", Action::TriggerAdd, Access::Token),
    route(Verb::Post, "/v1/triggers/enable", Action::TriggerEnable, Access::Token),
    route(Verb::Post, "/v1/triggers/disable", Action::TriggerDisable, Access::Token),
    route(Verb::Post, "/v1/triggers/remove", Action::TriggerRemove, Access::Token),
    route(Verb::Get, "/v1/journal", Action::JournalStat, Access::Token),
    route(Verb::Get, "/v1/store", Action::StoreStat, Access::Token),
    route(Verb::Get, "/v1/openapi.json", Action::OpenApi, Access::Token),
    route(Verb::Post, "/", Action::Scf, Access::Signed),
];

impl Action {
    /// The name in the audit log, for those that change something.
    pub fn audited(self) -> Option<&'static str> {
        match self {
            Action::TargetPause => Some("target:pause"),
            Action::TargetResume => Some("target:resume"),
            Action::DeadReplay => Some("dead-letters:replay"),
            Action::DeadPurge => Some("dead-letters:purge"),
            Action::DeadAccept => Some("dead-letters:accept-loss"),
            Action::TargetReplay => Some("target:replay"),
            Action::TargetTest => Some("target:test"),
            Action::TargetForget => Some("target:forget"),
            Action::Reload => Some("config:reload"),
            Action::BucketQuota => Some("bucket:quota"),
            Action::FunctionCreate => Some("function:create"),
            Action::FunctionUpdate => Some("function:update"),
            Action::FunctionRemove => Some("function:remove"),
            Action::FunctionInvoke => Some("function:invoke"),
            Action::TriggerAdd => Some("trigger:add"),
            Action::TriggerEnable => Some("trigger:enable"),
            Action::TriggerDisable => Some("trigger:disable"),
            Action::TriggerRemove => Some("trigger:remove"),
            Action::Live
            | Action::Ready
            | Action::Metrics
            | Action::TargetList
            | Action::TargetShow
            | Action::DeadList
            | Action::DeadShow
            | Action::BucketList
            | Action::FunctionList
            | Action::FunctionShow
            | Action::FunctionLogs
            | Action::FunctionTemplates
            | Action::RuleList
            | Action::TriggerList
            | Action::JournalStat
            | Action::StoreStat
            | Action::OpenApi
            // Its own table says which of its actions are.
            | Action::Scf => None,
        }
    }
}
