//! Windows: thread priorities and processor groups.
#![allow(unsafe_code, reason = "system calls that no safe crate offers")]

use std::io;

use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::SystemInformation::GROUP_AFFINITY;
use windows_sys::Win32::System::Threading::{
    GetActiveProcessorCount, GetActiveProcessorGroupCount, GetCurrentProcess, GetCurrentThread,
    GetProcessAffinityMask, GetProcessGroupAffinity, GetThreadGroupAffinity, GetThreadPriority,
    SetThreadGroupAffinity, SetThreadPriority,
};

use super::ThreadSettings;
use super::groups::{place, priority_of};

/// `THREAD_PRIORITY_ERROR_RETURN`.
const NO_PRIORITY: i32 = i32::MAX;

fn this_thread() -> HANDLE {
    // SAFETY: it takes nothing and returns a constant, which needs no closing.
    unsafe { GetCurrentThread() }
}

fn this_process() -> HANDLE {
    // SAFETY: as above.
    unsafe { GetCurrentProcess() }
}

/// How many processors each group has.
fn groups() -> Vec<u32> {
    // SAFETY: it takes nothing.
    let count = unsafe { GetActiveProcessorGroupCount() };
    // SAFETY: it takes a number only.
    let processors = |group| unsafe { GetActiveProcessorCount(group) };
    (0..count).map(processors).collect()
}

/// Processors that this process may use; `None` if the system does not say.
pub(super) fn cores() -> Option<usize> {
    let mut of = [0_u16; 64];
    let mut count = u16::try_from(of.len()).ok()?;
    // SAFETY: `of` is writable for `count` numbers, and both outlive the call.
    let known = unsafe { GetProcessGroupAffinity(this_process(), &raw mut count, of.as_mut_ptr()) };
    if known != 0 && count > 1 {
        // Since Windows 11 a process's threads are spread over all groups.
        let counts = groups();
        let of = &of[..usize::from(count)];
        let all = of
            .iter()
            .filter_map(|group| counts.get(usize::from(*group)));
        return Some(all.map(|count| *count as usize).sum());
    }
    let (mut ours, mut systems) = (0_usize, 0_usize);
    // SAFETY: both masks outlive the call.
    let known = unsafe { GetProcessAffinityMask(this_process(), &raw mut ours, &raw mut systems) };
    (known != 0 && ours != 0).then_some(ours.count_ones() as usize)
}

/// The priority of the calling thread.
pub(super) fn priority() -> io::Result<i32> {
    // SAFETY: the pseudo handle of this thread is always valid.
    match unsafe { GetThreadPriority(this_thread()) } {
        NO_PRIORITY => Err(io::Error::last_os_error()),
        priority => Ok(priority),
    }
}

/// Gives the calling thread this priority.
pub(super) fn set_priority(priority: i32) -> io::Result<()> {
    // SAFETY: the pseudo handle of this thread is always valid.
    if unsafe { SetThreadPriority(this_thread(), priority) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Applies the settings to the calling thread; returns what the system refused, in words.
pub(super) fn apply(settings: &ThreadSettings) -> Vec<String> {
    let mut refused = Vec::new();
    if let Some(nice) = settings.nice {
        let priority = priority_of(nice);
        if let Err(error) = set_priority(priority) {
            refused.push(format!("nice {nice} (thread priority {priority}): {error}"));
        }
    }
    if !settings.cores.is_empty() {
        refused.extend(bind(&settings.cores).err());
    }
    refused
}

fn bind(cores: &[usize]) -> Result<(), String> {
    let counts = groups();
    let Some(place) = place(cores, &counts) else {
        let all: u32 = counts.iter().sum();
        return Err(format!(
            "cores {cores:?}: this machine has cores 0 to {}",
            all.max(1) - 1
        ));
    };
    let affinity = GROUP_AFFINITY {
        Mask: place.mask,
        Group: place.group,
        Reserved: [0; 3],
    };
    let before = std::ptr::null_mut();
    // SAFETY: `affinity` outlives the call, and what was before may be null.
    if unsafe { SetThreadGroupAffinity(this_thread(), &raw const affinity, before) } == 0 {
        let error = io::Error::last_os_error();
        return Err(format!(
            "cores {cores:?}: {error} (does this process have them?)"
        ));
    }
    if place.elsewhere.is_empty() {
        return Ok(());
    }
    Err(format!(
        "cores {:?}: not there, or in another processor group than the rest; Windows binds a \
         thread within one group, here group {}",
        place.elsewhere, place.group
    ))
}

/// The priority of the calling thread, its group, and the processors in it.
pub(crate) fn own() -> Option<(i32, u16, usize)> {
    let priority = priority().ok()?;
    let mut affinity = GROUP_AFFINITY::default();
    // SAFETY: the pseudo handle of this thread is always valid, and `affinity` outlives the call.
    let known = unsafe { GetThreadGroupAffinity(this_thread(), &raw mut affinity) };
    (known != 0).then_some((priority, affinity.Group, affinity.Mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = std::thread::Builder::new().name("settings".into());
        thread.spawn(run).unwrap().join().unwrap()
    }

    #[test]
    fn the_system_is_told_the_priority_and_the_cores() {
        for (nice, priority) in [(-20, 2), (-5, 1), (0, 0), (5, -1), (19, -2)] {
            let settings = ThreadSettings {
                nice: Some(nice),
                cores: vec![0],
            };
            let (refused, own) = on_a_thread(move || (apply(&settings), own()));
            assert_eq!(refused, Vec::<String>::new());
            assert_eq!(own, Some((priority, 0, 1)), "nice {nice}");
        }
    }

    #[test]
    fn what_the_system_refuses_is_told() {
        let none = |cores: Vec<usize>| ThreadSettings { nice: None, cores };
        let wrong = none(vec![100_000]);
        let (refused, before, after) = on_a_thread(move || {
            let before = own();
            (apply(&wrong), before, own())
        });
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert!(refused[0].contains("cores [100000]"), "{refused:?}");
        assert_eq!(before, after);
        let partly = none(vec![0, 100_000]);
        let (refused, own) = on_a_thread(move || (apply(&partly), own()));
        assert!(refused[0].contains("[100000]"), "{refused:?}");
        assert_eq!(own.map(|own| own.2), Some(1));
    }

    #[test]
    fn the_cores_of_this_process_are_some_of_the_machines() {
        let all: u32 = groups().iter().sum();
        let ours = cores().unwrap();
        assert!((1..=all as usize).contains(&ours), "{ours} of {all}");
    }
}
