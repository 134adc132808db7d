//! Bounds on everything that comes from a module or a caller.

/// Largest `interface-types` section, in bytes.
pub const MAX_INTERFACE_SECTION: usize = 1 << 20;
/// Most types, imports, adapters, exports or implementations in one interface section.
pub const MAX_SECTION_ITEMS: usize = 65_535;
/// Most array levels in one interface type.
pub const MAX_ARRAY_DEPTH: usize = 64;
/// Most levels of records and arrays in one interface type.
pub const MAX_TYPE_DEPTH: usize = 1_024;
/// Least stack of a service, in bytes: engines need some of it for themselves.
pub const MIN_STACK_SIZE: usize = 64 << 10;
/// Most modules in one service.
pub const MAX_MODULES: usize = 64;
/// Largest module file, in bytes.
pub const MAX_MODULE_SIZE: usize = 256 << 20;
/// Most types and functions of a core module that its outline keeps: engines take no more.
pub(crate) const MAX_CORE_ITEMS: usize = 1_000_000;
/// Most values on the stack of an adapter.
pub const MAX_ADAPTER_STACK: usize = 4_096;
/// Most files and directories that a service holds open at a time, unless its configuration says
/// otherwise.
pub const MAX_OPEN_FILES: usize = 1_024;
/// Bytes that a file or directory takes of a service's disk quota beside its content.
pub const DISK_ENTRY: u64 = 4_096;
/// Most files and directories that a quota is computed over, and most of one listing.
pub const MAX_ENTRIES: usize = 1 << 20;
/// Longest path of a file in bytes.
pub const MAX_PATH: u32 = 4_096;
/// Longest message that a module logs at once, in bytes; the rest of it is left out.
pub const MAX_LOG_MESSAGE: u32 = 1 << 20;
/// Most bytes that one read or write of a module moves; a module asks again for the rest.
pub const MAX_IO_CHUNK: usize = 16 << 20;
/// Longest line of a module's output that is logged in one piece, in bytes.
pub const MAX_LOG_LINE: usize = 64 << 10;
/// Most bytes of a faulty section that an error message quotes.
pub(crate) const MAX_QUOTED_BYTES: usize = 256;
/// Most host memory that one value from a module may take, in bytes, unless the configuration of its
/// service says otherwise: pointers in a module's memory may overlap, so a small memory can describe
/// a huge value.
pub const MAX_VALUE_SIZE: usize = 256 << 20;
/// Most bytes of a value that an error message quotes.
pub(crate) const MAX_QUOTED_VALUE: usize = 4 << 10;
/// Most bytes of output of a mounted binary, unless its configuration says otherwise.
pub const MAX_BINARY_OUTPUT: usize = 64 << 20;
/// Longest time of a mounted binary, unless its configuration says otherwise.
pub const MAX_BINARY_TIME: std::time::Duration = std::time::Duration::from_secs(300);
