//! How many counters there is memory for, where the operator does not say.

use std::{fs, path::Path};

use crate::bounds;

/// Counters that this process should hold at most, by what the files below `root` (of this machine: `/`) say of its memory.
pub(super) fn counters_on(root: &Path) -> usize {
    counters_for(usable_memory(root))
}

/// Counters that a process with so many bytes of memory should hold at most; the least there is place for in any case
/// where nobody knows how many.
fn counters_for(memory: Option<u64>) -> usize {
    let count = memory.unwrap_or(0) / bounds::MEMORY_PER_COUNTERS / bounds::COUNTER_BYTES;
    usize::try_from(count).unwrap_or(usize::MAX).clamp(bounds::COUNTERS_FLOOR, bounds::COUNTERS_CEILING)
}

/// The memory that this process may use, in bytes: the machine's, or the least that a control group allows (Linux; None
/// elsewhere).
fn usable_memory(root: &Path) -> Option<u64> {
    let machine = read(&root.join("proc/meminfo")).and_then(|text| total(&text));
    let groups = read(&root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| group_limit(root, line));
    machine.into_iter().chain(limits).min()
}

/// `MemTotal:       16384000 kB`
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1_024)
}

/// The least that one line of `/proc/self/cgroup` allows: `0::/a/b` names a group of version 2, `5:memory:/a/b` one of
/// version 1. A group is bound by those above it too.
fn group_limit(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
    let (mount, file) = if number == "0" && controllers.is_empty() {
        ("sys/fs/cgroup", "memory.max")
    } else if controllers.split(',').any(|controller| controller == "memory") {
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return None;
    };
    // In a container the path may be the host's, and the group's files stand at the mount itself: the last ancestor.
    let group = Path::new(group.trim_start_matches('/'));
    let limit = |group: &Path| read(&root.join(mount).join(group).join(file))?.trim().parse().ok();
    group.ancestors().filter_map(limit).min()
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16000000 kB\nMemFree:        1 kB\n");
    /// Paths and what stands there.
    type Files = &'static [(&'static str, &'static str)];

    const V1_UNLIMITED: &str = "9223372036854771712\n";

    #[test]
    fn the_least_of_machine_and_control_groups_holds() {
        let machine = 16_000_000 * 1_024;
        let table: [(&str, Files, Option<u64>); 7] = [
            ("nothing is known", &[], None),
            ("no groups", &[MEMINFO], Some(machine)),
            (
                "version 2",
                &[MEMINFO, ("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/b/memory.max", "1000\n")],
                Some(1_000),
            ),
            (
                "the group above is smaller",
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "0::/a/b\n"),
                    ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                    ("sys/fs/cgroup/a/memory.max", "2000\n"),
                ],
                Some(2_000),
            ),
            (
                "a container that sees the host's path",
                &[MEMINFO, ("proc/self/cgroup", "0::/kubepods/pod1\n"), ("sys/fs/cgroup/memory.max", "3000\n")],
                Some(3_000),
            ),
            (
                "version 1",
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "7:cpu,cpuacct:/d\n5:memory:/d\n"),
                    ("sys/fs/cgroup/memory/d/memory.limit_in_bytes", "4000\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", V1_UNLIMITED),
                ],
                Some(4_000),
            ),
            (
                "version 1 without a limit",
                &[
                    MEMINFO,
                    ("proc/self/cgroup", "5:memory:/\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", V1_UNLIMITED),
                ],
                Some(machine),
            ),
        ];
        for (case, files, expected) in table {
            let root = tempfile::tempdir().expect("a directory");
            for (path, text) in files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().expect("a parent")).expect("writable");
                fs::write(path, text).expect("writable");
            }
            assert_eq!(usable_memory(root.path()), expected, "{case}");
        }
    }

    #[test]
    fn counters_take_a_quarter_within_bounds() {
        for (memory, counters) in [
            (None, 100_000),
            (Some(1), 100_000),
            (Some(512 << 20), 2_684_354),
            (Some(8 << 30), 42_949_672),
            (Some(u64::MAX), 1_000_000_000),
        ] {
            assert_eq!(counters_for(memory), counters, "{memory:?}");
        }
    }
}
