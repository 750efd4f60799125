//! Functions to begin with: commented code with its settings, written by `create --from`.
//!
//! Must never hold a credential or an address of somebody's service: both come from the environment.

use super::FunctionError;
use super::code::CodeInput;
use super::spec::{Network, Settings};
use super::templates::TemplateView;

/// One of them.
pub(super) struct Preset {
    name: &'static str,
    description: &'static str,
    code: &'static str,
    network: Network,
    timeout_s: u32,
    memory_mb: u32,
}

const fn preset(name: &'static str, description: &'static str, code: &'static str) -> Preset {
    Preset { name, description, code, network: Network::None, timeout_s: 3, memory_mb: 128 }
}

const fn bounded(timeout_s: u32, memory_mb: u32, preset: Preset) -> Preset {
    Preset { timeout_s, memory_mb, ..preset }
}

const fn calling(timeout_s: u32, memory_mb: u32, preset: Preset) -> Preset {
    Preset { network: Network::All, ..bounded(timeout_s, memory_mb, preset) }
}

const PRESETS: &[Preset] = &[
    preset("hello", "says which object changed, and how", include_str!("presets/hello.py")),
    calling(
        10,
        128,
        preset(
            "cdn-refresh",
            "asks a CDN to forget what changed (REFRESH_URL)",
            include_str!("../../config/examples/cdn-refresh/index.py"),
        ),
    ),
    bounded(
        60,
        512,
        preset(
            "unpack-zip",
            "unpacks a zip file into DESTINATION_BUCKET under DESTINATION_PREFIX",
            include_str!("../../config/examples/unpack-zip/index.py"),
        ),
    ),
    calling(
        30,
        256,
        preset(
            "image-recognition",
            "sends an image to a recognition service (RECOGNITION_URL) and writes its labels as an object",
            include_str!("../../config/examples/image-recognition/index.py"),
        ),
    ),
    bounded(
        20,
        128,
        preset(
            "sqlite-row",
            "writes a row for each change into the database that is an object of DATABASE_BUCKET",
            include_str!("../../config/examples/sqlite-row/index.py"),
        ),
    ),
    calling(
        10,
        128,
        preset(
            "call-service",
            "tells a service what was created, overwritten or deleted (SERVICE_URL)",
            include_str!("../../config/examples/call-service/index.py"),
        ),
    ),
];

/// All of them.
pub(super) fn all() -> Vec<TemplateView> {
    let view = |preset: &Preset| TemplateView {
        name: preset.name.to_owned(),
        description: preset.description.to_owned(),
    };
    PRESETS.iter().map(view).collect()
}

/// The settings and the code of one.
pub(super) fn named(name: &str) -> Result<(Settings, CodeInput), FunctionError> {
    let Some(preset) = PRESETS.iter().find(|preset| preset.name == name) else {
        let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
        let what = format!("no function template is named `{}`", name.escape_debug());
        return Err(FunctionError::Invalid(format!("{what}; there are {}", names.join(", "))));
    };
    let settings = Settings {
        description: preset.description.to_owned(),
        network: preset.network,
        timeout_s: preset.timeout_s,
        memory_mb: preset.memory_mb,
        ..Settings::default()
    };
    Ok((settings, CodeInput { text: Some(preset.code.to_owned()), ..CodeInput::default() }))
}
