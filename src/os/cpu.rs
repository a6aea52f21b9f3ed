//! Which processors this process may use. All defaults of worker numbers derive from their number.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sched::{sched_getaffinity, sched_setaffinity, CpuSet};
use nix::unistd::Pid;

/// A control group that limits the processors leaves at least so many to count with.
const MIN_COUNT_UNDER_QUOTA: u64 = 2;
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// The number of processors. Under a quota of a control group (quota / period, rounded up, at least
/// two) no more than the affinity mask allows; without one, those that are online.
pub fn cpu_count() -> usize {
    let memberships = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let quota = quota_in_cpus(&memberships, Path::new(CGROUP_ROOT));
    count_under(quota, online_count(), allowed_count())
}

fn count_under(quota: Option<u64>, online: usize, allowed: usize) -> usize {
    match quota {
        None => online.max(1),
        Some(cpus) => {
            let cpus = usize::try_from(cpus.max(MIN_COUNT_UNDER_QUOTA)).unwrap_or(usize::MAX);
            allowed.min(cpus).max(1)
        }
    }
}

fn online_count() -> usize {
    // SAFETY: plain query without pointers.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(count).unwrap_or(1)
}

/// The processors in the affinity mask. A mask that is too large for the set is no limit.
fn allowed_count() -> usize {
    allowed_cpus().map_or_else(|_| online_count(), |cpus| cpus.len())
}

/// The numbers of the processors that this thread may run on.
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}

/// Has this thread, and what it starts from now on, run on these processors alone.
pub fn keep_to(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// The smallest quota, in whole processors, among the groups that `memberships`, the text of
/// `/proc/self/cgroup`, puts this process in, and their parents up to `root`.
fn quota_in_cpus(memberships: &str, root: &Path) -> Option<u64> {
    memberships.lines().filter_map(|line| quota_of_membership(line, root)).min()
}

/// One line is `number:controllers:path`; version 2 has number 0 and no controllers.
fn quota_of_membership(line: &str, root: &Path) -> Option<u64> {
    let mut fields = line.splitn(3, ':');
    let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let read = |folder: &Path, name: &str| fs::read_to_string(folder.join(name)).ok();
    if number == "0" && controllers.is_empty() {
        let folders = folders_up(root, path);
        return folders.iter().filter_map(|at| quota_of_v2(&read(at, "cpu.max")?)).min();
    }
    if !controllers.split(',').any(|controller| controller == "cpu") {
        return None;
    }
    let mounted = [root.join("cpu"), root.join(controllers)];
    let mount = mounted.iter().find(|mount| mount.is_dir())?;
    let folders = folders_up(mount, path);
    let of_folder =
        |at: &PathBuf| quota_of_v1(&read(at, "cpu.cfs_quota_us")?, &read(at, "cpu.cfs_period_us")?);
    folders.iter().filter_map(of_folder).min()
}

/// The folder of a group below its mount and all its parents up to the mount, which stands there
/// even where a container does not see the path itself.
fn folders_up(mount: &Path, group: &str) -> Vec<PathBuf> {
    let relative = Path::new(group.trim_start_matches('/'));
    relative.ancestors().map(|part| mount.join(part)).collect()
}

/// `cpu.max` of version 2: quota and period in microseconds, or `max` for no quota.
fn quota_of_v2(text: &str) -> Option<u64> {
    let mut fields = text.split_whitespace();
    whole_cpus(fields.next()?, fields.next()?)
}

/// `cpu.cfs_quota_us` and `cpu.cfs_period_us` of version 1: -1 for no quota.
fn quota_of_v1(quota: &str, period: &str) -> Option<u64> {
    whole_cpus(quota.trim(), period.trim())
}

fn whole_cpus(quota: &str, period: &str) -> Option<u64> {
    let quota: u64 = quota.parse().ok()?;
    let period: u64 = period.parse().ok()?;
    (quota > 0 && period > 0).then(|| quota.div_ceil(period))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_rounded_up_to_whole_processors() {
        assert_eq!(quota_of_v2("200000 100000\n"), Some(2));
        assert_eq!(quota_of_v2("250000 100000\n"), Some(3));
        assert_eq!(quota_of_v1("50000\n", "100000\n"), Some(1));
    }

    #[test]
    fn no_quota_and_garbage_are_no_limit() {
        for text in ["max 100000\n", "", "100000", "x y", "0 100000", "100000 0", "-1 5"] {
            assert_eq!(quota_of_v2(text), None, "{text:?}");
        }
        assert_eq!(quota_of_v1("-1\n", "100000\n"), None);
    }

    #[test]
    fn the_mask_caps_a_quota_and_a_quota_counts_as_two_at_least() {
        assert_eq!(count_under(None, 8, 3), 8);
        assert_eq!(count_under(None, 0, 0), 1);
        assert_eq!(count_under(Some(1), 8, 8), 2);
        assert_eq!(count_under(Some(5), 8, 8), 5);
        assert_eq!(count_under(Some(5), 8, 3), 3);
        assert_eq!(count_under(Some(1), 8, 1), 1);
        assert_eq!(count_under(Some(u64::MAX), 8, 4), 4);
    }

    #[test]
    fn the_tightest_group_on_the_way_up_decides() {
        let root = std::env::temp_dir().join(format!("sw-cgroup-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/cpu.max"), "300000 100000\n").unwrap();
        fs::write(root.join("a/b/cpu.max"), "max 100000\n").unwrap();
        fs::create_dir_all(root.join("cpu,cpuacct/c")).unwrap();
        fs::write(root.join("cpu,cpuacct/cpu.cfs_quota_us"), "400000\n").unwrap();
        fs::write(root.join("cpu,cpuacct/cpu.cfs_period_us"), "100000\n").unwrap();
        let quotas = [
            quota_in_cpus("0::/a/b\n", &root),
            quota_in_cpus("0::/\n", &root),
            quota_in_cpus("3:cpuset:/c\n4:cpu,cpuacct:/c\n", &root),
            quota_in_cpus("4:cpu,cpuacct:/not/seen\n0::/a\n", &root),
            quota_in_cpus("3:cpuset:/a\nnonsense\n", &root),
        ];
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(quotas, [Some(3), None, Some(4), Some(3), None]);
    }

    #[test]
    fn a_thread_keeps_to_the_processors_that_it_is_given() {
        let all = allowed_cpus().unwrap();
        let last = *all.last().unwrap();
        std::thread::spawn(move || {
            keep_to(&[last]).unwrap();
            assert_eq!(allowed_cpus().unwrap(), [last]);
            assert!(keep_to(&[]).is_err());
            assert!(keep_to(&[usize::MAX]).is_err());
        })
        .join()
        .unwrap();
        assert_eq!(allowed_cpus().unwrap(), all);
    }

    #[test]
    fn there_is_at_least_one_processor_and_no_more_than_are_online() {
        assert!((1..=online_count()).contains(&cpu_count()));
        assert!((1..=online_count()).contains(&allowed_count()));
    }
}
