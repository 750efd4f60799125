//! Tables of the configuration whose keys are judged one by one: each key is one line, with its type, its
//! default and its bounds.
//!
//! Must never hold a key that is not judged, but for flags, nor one whose change at a reload nobody is told
//! of.

/// Declares such a table: what it is once it is checked, what is typed, and how that is judged. All of it
/// takes effect with a restart. A key is a `flag`, a `count`, `bytes` or a `span` of time.
macro_rules! table {
    ($(#[$about:meta])* pub struct $name:ident = $section:literal, judged by $judge:ident {
        $($(#[$doc:meta])* $key:ident: $kind:ident = $default:expr $(, $bounds:expr)?;)*
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name { $($(#[$doc])* pub $key: table!(@checked $kind),)* }

        /// The same as it is typed.
        #[derive(Debug, ::serde::Deserialize)]
        #[serde(default)]
        pub(super) struct Raw { $($key: table!(@typed $kind),)* }

        impl Default for Raw {
            fn default() -> Self {
                Self { $($key: table!(@type $kind, $default),)* }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl $name {
            /// The keys that differ, as they are typed.
            pub(super) fn differing(&self, other: &Self) -> Vec<&'static str> {
                let keys =
                    [$((self.$key != other.$key, concat!("`", $section, ".", stringify!($key), "`"))),*];
                keys.into_iter().filter(|(differs, _)| *differs).map(|(_, key)| key).collect()
            }
        }

        impl super::check::Checker<'_> {
            #[doc = concat!("`[", $section, "]`.")]
            pub(super) fn $judge(&mut self, raw: &Raw) -> $name {
                let at = super::tree::KeyPath::of(&[$section]);
                $(table!(@judge $kind, self, at.key(stringify!($key)), raw.$key $(, $bounds)?);)*
                $name { $($key: table!(@value $kind, raw.$key),)* }
            }
        }
    };

    (@checked flag) => { bool };
    (@checked count) => { usize };
    (@checked bytes) => { u64 };
    (@checked span) => { ::std::time::Duration };

    (@typed flag) => { bool };
    (@typed count) => { usize };
    (@typed bytes) => { ::tidings_connector::Size };
    (@typed span) => { ::tidings_connector::Span };

    (@type bytes, $value:expr) => { ::tidings_connector::Size($value) };
    (@type span, $value:expr) => { ::tidings_connector::Span($value) };
    (@type $kind:ident, $value:expr) => { $value };

    (@value bytes, $value:expr) => { $value.0 };
    (@value span, $value:expr) => { $value.0 };
    (@value $kind:ident, $value:expr) => { $value };

    (@judge flag, $checker:ident, $at:expr, $value:expr) => {};
    (@judge count, $checker:ident, $at:expr, $value:expr, $bounds:expr) => {
        $checker.count(&$at, $value, $bounds)
    };
    (@judge bytes, $checker:ident, $at:expr, $value:expr, $bounds:expr) => {
        $checker.size(&$at, $value, $bounds)
    };
    (@judge span, $checker:ident, $at:expr, $value:expr, $bounds:expr) => {
        $checker.span(&$at, $value, $bounds)
    };
}

pub(super) use table;
