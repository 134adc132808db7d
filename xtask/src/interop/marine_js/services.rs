//! Which services run, and calls that random arguments would not make.

/// A service of committed guest modules; the last is the facade.
pub(super) struct Subject {
    pub(super) modules: &'static [&'static str],
    /// Functions that get no random arguments: they would never end, or take all memory.
    pub(super) by_hand: &'static [&'static str],
    /// Further calls: function, arguments as JSON. They come last.
    pub(super) calls: &'static [(&'static str, &'static str)],
}

impl Subject {
    pub(super) fn facade(&self) -> &'static str {
        self.modules.last().copied().unwrap_or_default()
    }

    const fn of(modules: &'static [&'static str]) -> Self {
        Self {
            modules,
            by_hand: &[],
            calls: &[],
        }
    }
}

/// All of them.
pub(super) const SERVICES: &[Subject] = &[
    Subject {
        modules: &["echo"],
        by_hand: &["spin", "take_memory", "trap"],
        calls: &[
            ("take_memory", "[3000000]"),
            ("no_such_function", "[]"),
            // By name, by position, without a list, and unwrapped from a list of one.
            ("string_echo", r#"{"value":"x"}"#),
            ("string_echo", r#""x""#),
            ("string_echo", r#"[["x"]]"#),
            ("bytes_echo", "[[[1],[2]]]"),
            ("nothing", "null"),
            ("tower_echo", r#"[[7,[[[["a"],["b"]],[]]]]]"#),
            // What does not fit.
            ("string_echo", "[]"),
            ("string_echo", "[1]"),
            ("string_echo", r#"["a","b"]"#),
            ("string_echo", "null"),
            ("bool_echo", "[1]"),
            ("u8_echo", "[256]"),
            ("i8_echo", "[-129]"),
            ("u32_echo", "[1.5]"),
            ("bytes_echo", r#"["AQI="]"#),
            ("tower_echo", r#"[{"level":1}]"#),
            ("tower_echo", r#"[{"level":1,"floors":[],"more":1}]"#),
            // Both hosts go on after a trap.
            ("trap", r#"["on purpose"]"#),
            ("string_echo", r#"["after the trap"]"#),
        ],
    },
    Subject {
        modules: &["echo", "relay"],
        by_hand: &["work"],
        calls: &[("work", "[3]")],
    },
    Subject::of(&["storage"]),
    Subject {
        modules: &["storage", "facade"],
        by_hand: &[],
        calls: &[
            ("save", r#"["title","one"]"#),
            ("save", r#"["title","two"]"#),
            ("note", r#"["title"]"#),
            ("notes", "[]"),
            ("discard", r#"["title"]"#),
            ("discard", r#"["title"]"#),
        ],
    },
    Subject {
        modules: &["sampler"],
        by_hand: &["measure"],
        calls: &[("measure", r#"["topic",500]"#), ("runs", "[]")],
    },
    Subject::of(&["greeting"]),
    Subject::of(&["parrot"]),
    // Without directories in either host: the module's library refuses every path.
    Subject::of(&["spell"]),
    Subject {
        modules: &["files"],
        // Hosts add variables of their own.
        by_hand: &["variables"],
        calls: &[("variable", r#"["GREETING"]"#)],
    },
];

/// A call of the module `files` and what it logs: mask of the host, function, arguments, level and message of each
/// line.
pub(super) type Logs = (
    i32,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// All of them. Reading has the bit 1, writing the bit 2; messages without a target pass every mask.
pub(super) const LOGS: &[Logs] = &[
    (
        0,
        "write_log",
        r#"["é"]"#,
        &[
            ("error", "é"),
            ("warn", "é"),
            ("info", "é"),
            ("debug", "é"),
            ("trace", "é"),
        ],
    ),
    (1, "read_file", r#"["/f"]"#, &[("info", "read /f")]),
    (2, "read_file", r#"["/f"]"#, &[]),
    (
        2,
        "write_file",
        r#"["/f",[1,2]]"#,
        &[("info", "write 2 bytes to /f")],
    ),
];
