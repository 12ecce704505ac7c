//! Windows: what the process and tool-help calls say.
#![allow(unsafe_code, reason = "system calls that no safe crate offers")]

use windows_sys::Win32::Foundation::{
    CloseHandle, DUPLICATE_SAME_ACCESS, DuplicateHandle, HANDLE, INVALID_HANDLE_VALUE, LocalFree,
};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetProcessHandleCount, GetThreadDescription, OpenThread,
    THREAD_QUERY_LIMITED_INFORMATION,
};

pub(super) fn open_handles() -> Option<usize> {
    let mut count = 0;
    // SAFETY: the pseudo handle of this process is always valid, and `count` outlives the call.
    let done = unsafe { GetProcessHandleCount(process(), &raw mut count) };
    match count {
        _ if done == 0 => None,
        // No process has none. Wine 8 knows the call and always says so.
        0 => by_the_gaps(),
        _ => Some(count as usize),
    }
}

/// So many handles in a row are free: no used one lies behind them.
const FREE_IN_A_ROW: usize = 128;
/// The most handles that are opened for a count.
const OPENED_MAX: usize = 1 << 16;

/// Counts by opening handles. Wine gives out the lowest that is free, so those that it leaves out
/// are used. (Its list of all handles would tell too, but asking for it ends the Wine server of
/// version 8 if any other process has no handle yet, and so all of its programs.)
fn by_the_gaps() -> Option<usize> {
    let mut opened = Vec::with_capacity(2 * FREE_IN_A_ROW);
    let (mut last, mut in_a_row) = (0, 0);
    while in_a_row < FREE_IN_A_ROW && opened.len() < OPENED_MAX {
        let handle = another()?;
        // Handles are the multiples of 4.
        let number = handle.0.addr() / 4;
        in_a_row = if number == last + 1 { in_a_row + 1 } else { 0 };
        last = number;
        opened.push(handle);
    }
    (opened.len() < OPENED_MAX).then(|| last - opened.len())
}

/// One more handle of this process.
fn another() -> Option<Owned> {
    let mut handle = std::ptr::null_mut();
    // SAFETY: the pseudo handle of this process is always valid, and `handle` outlives the call.
    let done = unsafe {
        let (own, rights) = (process(), DUPLICATE_SAME_ACCESS);
        DuplicateHandle(own, own, own, &raw mut handle, 0, 0, rights)
    };
    (done != 0).then_some(Owned(handle))
}

pub(super) fn resident_bytes() -> Option<u64> {
    Some(memory()?.WorkingSetSize as u64)
}

pub(super) fn claimed_bytes() -> Option<u64> {
    Some(memory()?.PagefileUsage as u64)
}

fn memory() -> Option<PROCESS_MEMORY_COUNTERS> {
    let mut counters = PROCESS_MEMORY_COUNTERS::default();
    let bytes = u32::try_from(size_of::<PROCESS_MEMORY_COUNTERS>()).ok()?;
    // SAFETY: the counters outlive the call, and `bytes` is their size.
    let done = unsafe { K32GetProcessMemoryInfo(process(), &raw mut counters, bytes) };
    (done != 0).then_some(counters)
}

/// A handle that is closed when dropped.
struct Owned(HANDLE);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: each `Owned` is made from a handle just opened, checked to be one, and not kept
        // anywhere else.
        unsafe { CloseHandle(self.0) };
    }
}

fn process() -> HANDLE {
    // SAFETY: it takes nothing and returns a constant, which needs no closing.
    unsafe { GetCurrentProcess() }
}

pub(super) fn thread_names() -> Option<Vec<String>> {
    // SAFETY: it takes numbers only.
    let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0) };
    if snapshot == INVALID_HANDLE_VALUE {
        return None;
    }
    let snapshot = Owned(snapshot);
    let mut entry = THREADENTRY32 {
        dwSize: u32::try_from(size_of::<THREADENTRY32>()).ok()?,
        ..THREADENTRY32::default()
    };
    let mut names = Vec::new();
    // SAFETY: `snapshot` is open until the end of this function; the entry has its size set.
    let mut more = unsafe { Thread32First(snapshot.0, &raw mut entry) };
    while more != 0 {
        // The snapshot holds the threads of all processes.
        if entry.th32OwnerProcessID == std::process::id() {
            names.extend(name_of(entry.th32ThreadID));
        }
        // SAFETY: as above.
        more = unsafe { Thread32Next(snapshot.0, &raw mut entry) };
    }
    Some(names)
}

/// The description that std gives a thread as its name; `None` if the thread has ended since.
fn name_of(id: u32) -> Option<String> {
    // SAFETY: it takes numbers only; a thread that is gone makes it fail.
    let thread = unsafe { OpenThread(THREAD_QUERY_LIMITED_INFORMATION, 0, id) };
    if thread.is_null() {
        return None;
    }
    let thread = Owned(thread);
    let mut text = std::ptr::null_mut();
    // SAFETY: `thread` is open, and `text` outlives the call.
    let result = unsafe { GetThreadDescription(thread.0, &raw mut text) };
    if result < 0 || text.is_null() {
        return Some(String::new());
    }
    let (mut units, mut at) = (Vec::new(), text);
    // SAFETY: on success `text` points to UTF-16 that ends with a zero, which ends this loop
    // before the pointer would leave it.
    while let unit @ 1.. = unsafe { *at } {
        units.push(unit);
        at = at.wrapping_add(1);
    }
    // SAFETY: GetThreadDescription says that its text is freed so; it is not used after.
    unsafe { LocalFree(text.cast()) };
    Some(String::from_utf16_lossy(&units))
}

pub(super) fn own_thread() -> Option<String> {
    let (priority, group, mask) = crate::port::threads::windows::own()?;
    Some(format!(
        "priority {priority}, processors {mask:#x} of group {group}"
    ))
}
