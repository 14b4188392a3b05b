//! Enums with names and descriptions for their variants. A single table defines parsing, printing and help.

/// Defines an enum without fields, with `ALL`, `NAMES`, `name`, `description`, `Display` and `FromStr`.
#[doc(hidden)]
#[macro_export]
macro_rules! named_enum {
    (
        $(#[$meta:meta])*
        pub enum $type:ident ($what:literal) { $( $variant:ident = $name:literal $(or $alias:literal)?: $description:literal, )+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub enum $type {
            $(
                #[doc = concat!("`", $name, "`: ", $description)]
                #[cfg_attr(feature = "serde", serde(rename = $name $(, alias = $alias)?))]
                $variant,
            )+
        }

        impl $type {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The names of the values in [`ALL`](Self::ALL).
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// Returns the name used in files and on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Returns a description of one line, for help texts.
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $description),+ }
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad(self.name())
            }
        }

        impl core::str::FromStr for $type {
            type Err = $crate::objective::Error;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match name {
                    $($name $(| $alias)? => Ok(Self::$variant),)+
                    _ => Err($crate::objective::Error::UnknownName { what: $what, wanted: Self::NAMES }),
                }
            }
        }
    };
}
