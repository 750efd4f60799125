//! The actions, as one table: their names, what the audit log calls them, how large their requests may be.
//!
//! Must never hold a handler.

use crate::functions::MAX_EVENT;

/// What a request may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    CreateFunction,
    UpdateFunctionCode,
    UpdateFunctionConfiguration,
    GetFunction,
    ListFunctions,
    DeleteFunction,
    CreateTrigger,
    DeleteTrigger,
    ListTriggers,
    UpdateTriggerStatus,
    Invoke,
    InvokeFunction,
    GetFunctionLogs,
    GetRequestStatus,
    GetFunctionEventInvokeConfig,
    UpdateFunctionEventInvokeConfig,
}

/// How large a request may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// Names and numbers.
    Small,
    /// An event, written as text in JSON.
    Event,
    /// Code in base64.
    Code,
}

impl Size {
    /// Bytes.
    pub(super) fn bytes(self) -> usize {
        match self {
            Size::Small => 64 << 10,
            Size::Event => 2 * MAX_EVENT + (64 << 10),
            Size::Code => 96 << 20,
        }
    }
}

/// One action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// The vendor's name.
    pub(super) name: &'static str,
    pub(super) act: Act,
    /// The name in the audit log, for those that change something: as that of the `/v1` route that does it.
    pub(super) audited: Option<&'static str>,
    pub(super) size: Size,
}

const fn row(name: &'static str, act: Act, audited: Option<&'static str>, size: Size) -> Row {
    Row { name, act, audited, size }
}

/// Every action.
pub(super) const ROWS: &[Row] = &[
    row("CreateFunction", Act::CreateFunction, Some("function:create"), Size::Code),
    row("UpdateFunctionCode", Act::UpdateFunctionCode, Some("function:update"), Size::Code),
    row(
        "UpdateFunctionConfiguration",
        Act::UpdateFunctionConfiguration,
        Some("function:update"),
        Size::Small,
    ),
    row("GetFunction", Act::GetFunction, None, Size::Small),
    row("ListFunctions", Act::ListFunctions, None, Size::Small),
    row("DeleteFunction", Act::DeleteFunction, Some("function:remove"), Size::Small),
    row("CreateTrigger", Act::CreateTrigger, Some("trigger:add"), Size::Small),
    row("DeleteTrigger", Act::DeleteTrigger, Some("trigger:remove"), Size::Small),
    row("ListTriggers", Act::ListTriggers, None, Size::Small),
    row("UpdateTriggerStatus", Act::UpdateTriggerStatus, Some("trigger:switch"), Size::Small),
    row("Invoke", Act::Invoke, Some("function:invoke"), Size::Event),
    row("InvokeFunction", Act::InvokeFunction, Some("function:invoke"), Size::Event),
    row("GetFunctionLogs", Act::GetFunctionLogs, None, Size::Small),
    row("GetRequestStatus", Act::GetRequestStatus, None, Size::Small),
    row("GetFunctionEventInvokeConfig", Act::GetFunctionEventInvokeConfig, None, Size::Small),
    row(
        "UpdateFunctionEventInvokeConfig",
        Act::UpdateFunctionEventInvokeConfig,
        Some("function:update"),
        Size::Small,
    ),
];

/// The action with this name.
pub(super) fn named(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}
