//! What the kernel tells about the processes of a group: who they are, CPU time, memory.

use std::fs;
use std::io;

/// Every process of the process group `group` that has not ended.
pub fn members(group: i32) -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if group_of(pid) == Some(group) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// `None` if there is no such process (any more), or if it has ended and waits to be reaped.
fn group_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything; behind it: state, parent, group.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(1)?.parse().ok()
}

/// Nanoseconds that all threads of `pids` have spent on a CPU, in user mode and in the kernel.
pub fn cpu_ns(pids: &[i32]) -> io::Result<u64> {
    let mut sum = 0;
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = text.split_whitespace().next().and_then(|field| field.parse::<u64>().ok());
            sum += on_cpu.ok_or_else(|| io::Error::other("schedstat holds no number"))?;
        }
    }
    Ok(sum)
}

/// Bytes of user memory of `pids` together: what is private to one counts whole, and what several
/// map is divided among them, so that the sum counts it once.
pub fn memory_bytes(pids: &[i32]) -> io::Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        sum += kib.ok_or_else(|| io::Error::other("smaps_rollup has no Pss"))? * 1024;
    }
    Ok(sum)
}
