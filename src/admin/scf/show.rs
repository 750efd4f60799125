//! Functions shown in the vendor's words.
//!
//! Must never show code or a variable's value. Times are UTC, as everywhere in tidings.

use serde_json::{Value, json};

use super::super::backend::AdminBackend;
use super::answer::{Answer, Refusal};
use super::functions::HIDDEN;
use super::triggers;
use super::words::Words;
use crate::functions::{FunctionView, Network, Runtime};

/// Functions or triggers on one page unless said, and at most.
pub(super) const PAGE: i64 = 20;
const PAGE_MAX: i64 = 1_000;

/// One function.
pub(super) async fn get(backend: &dyn AdminBackend, mut words: Words) -> Answer {
    let name = words.function()?;
    words.qualifier()?;
    words.end()?;
    let view = backend.functions().show(&name)?;
    let triggers = triggers::of(backend, &view).await?;
    let mut shown = summary(&view);
    let current = view.versions.iter().find(|version| version.number == view.version);
    let variable = |name: &String| json!({ "Key": name, "Value": HIDDEN });
    let reason = |why: &String| json!({ "ErrorCode": "Unavailable", "ErrorMessage": why });
    let address = json!({ "EipStatus": "DISABLE", "EipAddress": [] });
    let network = if view.network == Network::None { "DISABLE" } else { "ENABLE" };
    let more = json!({
        "CodeInfo": "",
        "CodeSize": current.map_or(0, |version| version.bytes),
        "CodeResult": "success",
        "CodeError": "",
        "ErrNo": 0,
        "Triggers": triggers,
        "Handler": view.handler,
        "Timeout": view.timeout_s,
        "InitTimeout": view.start_timeout_s,
        "MemorySize": view.memory_mb,
        "FunctionVersion": "$LATEST",
        "Qualifier": "$LATEST",
        "Environment": { "Variables": view.environment.iter().map(variable).collect::<Vec<_>>() },
        "PublicNetConfig": { "PublicNetStatus": network, "EipConfig": address },
        "VpcConfig": { "VpcId": "", "SubnetId": "" },
        "Role": "",
        "Layers": [],
        "InstallDependency": "FALSE",
        "StatusDesc": view.problem.clone().unwrap_or_default(),
        "StatusReasons": view.problem.iter().map(reason).collect::<Vec<_>>(),
        "AvailableStatus": if view.problem.is_none() { "Available" } else { "Unavailable" },
    });
    if let (Some(shown), Value::Object(more)) = (shown.as_object_mut(), more) {
        shown.extend(more);
    }
    Ok(shown)
}

/// What lists show of a function.
fn summary(view: &FunctionView) -> Value {
    json!({
        "FunctionName": view.name,
        "FunctionId": view.target,
        "Namespace": view.namespace,
        "Description": view.description,
        "Runtime": runtime(view.runtime),
        "Type": "Event",
        "Status": "Active",
        "StatusDesc": view.problem.clone().unwrap_or_default(),
        "AddTime": time(&view.created),
        "ModTime": time(&view.updated),
        "Tags": [],
        "AsyncRunEnable": "FALSE",
        "TraceEnable": "FALSE",
    })
}

fn runtime(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Python3 => "Python3",
        Runtime::Nodejs => "Nodejs",
        Runtime::Custom => "CustomRuntime",
    }
}

/// RFC 3339 as the vendor writes times.
pub(super) fn time(text: &str) -> String {
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map_or_else(|_| text.to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// Some functions.
pub(super) fn list(backend: &dyn AdminBackend, mut words: Words) -> Answer {
    words.namespace()?;
    let page = Page::of(&mut words, "Orderby", &["AddTime", "ModTime", "FunctionName"])?;
    let (name, description) = (words.said("SearchKey")?, words.said("Description")?);
    words.end()?;
    let within =
        |text: &str, wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| text.contains(wanted));
    let mut views = backend.functions().list();
    views.retain(|view| within(&view.name, &name) && within(&view.description, &description));
    match page.by.as_deref() {
        Some("AddTime") => views.sort_by(|a, b| a.created.cmp(&b.created)),
        Some("ModTime") => views.sort_by(|a, b| a.updated.cmp(&b.updated)),
        _ => {}
    }
    let count = views.len();
    Ok(json!({ "Functions": page.cut(views.iter().map(summary).collect()), "TotalCount": count }))
}

/// Which part of a list somebody wants, in which order.
pub(super) struct Page {
    offset: usize,
    limit: usize,
    pub(super) by: Option<String>,
    downwards: Option<bool>,
}

impl Page {
    /// What a request says of it. `orders` are the names that may stand in the parameter `by`.
    pub(super) fn of(words: &mut Words, by: &str, orders: &[&str]) -> Result<Self, Refusal> {
        Self::within(words, by, orders, PAGE_MAX)
    }

    /// The same with another bound.
    pub(super) fn within(words: &mut Words, by: &str, orders: &[&str], most: i64) -> Result<Self, Refusal> {
        let (offset, limit) = (words.number("Offset")?.unwrap_or(0), words.number("Limit")?.unwrap_or(PAGE));
        let offset = usize::try_from(offset);
        let offset =
            offset.map_err(|_| Refusal::new("InvalidParameterValue.Offset", "`Offset` is below 0"))?;
        if !(0..=most).contains(&limit) {
            return Err(Refusal::new("InvalidParameterValue.Limit", format!("`Limit` may be 0 to {most}")));
        }
        let limit = usize::try_from(limit).unwrap_or(0);
        let by_name = words.said(by)?;
        if by_name.as_ref().is_some_and(|name| !orders.contains(&name.as_str())) {
            let why = format!("`{by}` may be {}", orders.join(", "));
            return Err(Refusal::new("InvalidParameterValue.OrderBy", why));
        }
        let order = words.said("Order")?.map(|order| order.to_ascii_lowercase());
        let downwards = match order.as_deref() {
            None => None,
            Some("asc") => Some(false),
            Some("desc") => Some(true),
            Some(_) => {
                return Err(Refusal::new("InvalidParameterValue.Order", "`Order` may be `ASC` or `DESC`"));
            }
        };
        Ok(Self { offset, limit, by: by_name, downwards })
    }

    /// Downwards unless it says otherwise.
    pub(super) fn downwards_first(self) -> Self {
        Self { downwards: self.downwards.or(Some(true)), ..self }
    }

    /// That part of a list.
    pub(super) fn cut<T>(&self, mut all: Vec<T>) -> Vec<T> {
        if self.downwards == Some(true) {
            all.reverse();
        }
        all.into_iter().skip(self.offset).take(self.limit).collect()
    }
}
