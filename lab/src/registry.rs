//! The tasks of the lab in one table: their names, their options, and one type for all of them.

use alloc::string::String;
use alloc::vec::Vec;

use flowrl_core::named_enum;

use super::environment::forward;
use super::{
    Bandit, BanditOptions, Bits, BitsOptions, Environment, Error, Hypergrid, HypergridOptions, Landscape,
    LandscapeOptions, Outcome, Strings, StringsOptions,
};

/// Defines [`LabKind`], [`LabOptions`] and [`Lab`]. A row gives a task's name in files, its type, its options with the
/// function that creates the task from them, and a description.
macro_rules! registry {
    ($( $kind:ident = $name:literal, $task:ident, $options:ident, $create:expr, $description:literal; )+) => {
        named_enum! {
            /// The kind of a task of the lab.
            pub enum LabKind ("task of the lab") { $( $kind = $name: $description, )+ }
        }

        /// The options of a task of the lab. A file gives the task's name as `kind` and the options next to it.
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(tag = "kind"))]
        pub enum LabOptions {
            $(
                #[doc = concat!("`", $name, "`: ", $description)]
                #[cfg_attr(feature = "serde", serde(rename = $name))]
                $kind($options),
            )+
        }

        impl LabOptions {
            /// Returns the default options of a kind of task.
            pub fn of(kind: LabKind) -> Self {
                match kind { $( LabKind::$kind => Self::$kind($options::default()), )+ }
            }

            /// Creates the task.
            ///
            /// # Errors
            /// Returns an error if an option is out of range.
            pub fn open(self) -> Result<Lab, Error> {
                match self { $( Self::$kind(options) => $create(options).map(Lab::$kind), )+ }
            }
        }

        /// Any task of the lab.
        ///
        /// ```
        /// use flowrl_lab::{Environment, LabKind, LabOptions};
        /// let kind: LabKind = "hypergrid".parse()?;
        /// let grid = LabOptions::of(kind).open()?;
        /// assert_eq!((grid.kind(), grid.objects()), (LabKind::Hypergrid, 64));
        /// assert_eq!(grid.name(63), "(7, 7)");
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[derive(Clone, Debug, PartialEq)]
        pub enum Lab {
            $( #[doc = concat!("`", $name, "`: ", $description)] $kind($task), )+
        }

        impl Lab {
            /// Returns the kind of this task.
            pub fn kind(&self) -> LabKind {
                match self { $( Self::$kind(_) => LabKind::$kind, )+ }
            }

            /// Formats an object for people, for example `(3, 5)`, `0110` or `abba`.
            pub fn name(&self, object: usize) -> String {
                match self { $( Self::$kind(task) => task.name(object), )+ }
            }

            /// Returns whether each object has one trajectory, which means that there is a reference policy.
            pub fn is_tree(&self) -> bool {
                self.parents() == 0
            }

            fn task(&self) -> &dyn Environment {
                match self { $( Self::$kind(task) => task, )+ }
            }
        }
    };
}

registry! {
    Bandit = "bandit", Bandit, BanditOptions, Bandit::preset, "a finite set of answers";
    Landscape = "landscape", Landscape, LandscapeOptions, Landscape::preset,
        "a square of answers of two tokens each, with hills of reward";
    Hypergrid = "hypergrid", Hypergrid, HypergridOptions, Hypergrid::from_options, "the grid of the GFlowNet benchmark";
    Bits = "bits", Bits, BitsOptions, Bits::from_options, "sequences of bits with planted modes";
    Tree = "tree", Strings, StringsOptions, Strings::new, "strings of varying length";
}

impl Environment for Lab {
    forward!(self => self.task());
}
