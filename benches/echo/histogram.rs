//! Latencies in buckets whose width grows with the value: every answer is right within 1 %.

use std::time::Duration;

const SUB_BITS: u32 = 7;
const SUB_COUNT: usize = 1 << SUB_BITS;
const BUCKET_COUNT: usize = (64 - SUB_BITS as usize + 1) * SUB_COUNT;

pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    pub fn new() -> Self {
        Self { buckets: vec![0; BUCKET_COUNT], count: 0 }
    }

    pub fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(bucket_of(nanoseconds)) {
            *bucket += 1;
            self.count += 1;
        }
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The latency in microseconds that the share `quantile` of all stayed at or below.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        let rank = (self.count as f64 * quantile).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket;
            if seen >= rank {
                return middle_of(index) / 1000.0;
            }
        }
        0.0
    }
}

/// Values below `SUB_COUNT` have a bucket each; above, every power of two has `SUB_COUNT` of them.
fn bucket_of(value: u64) -> usize {
    let shift = (64 - value.leading_zeros()).saturating_sub(SUB_BITS + 1);
    shift as usize * SUB_COUNT + (value >> shift) as usize
}

fn middle_of(index: usize) -> f64 {
    let shift = (index / SUB_COUNT).saturating_sub(1);
    let value = (index - shift * SUB_COUNT) as f64;
    (value + 0.5) * (shift as f64).exp2()
}

/// Fails with a sentence if a known set of latencies does not give the known answers.
pub fn check() -> Result<(), String> {
    let mut histogram = Histogram::new();
    for microseconds in 1..=1000 {
        histogram.record(Duration::from_micros(microseconds));
    }
    for (quantile, expected) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
        let answer = histogram.quantile_us(quantile);
        if (answer - expected).abs() > expected / 100.0 {
            return Err(format!("quantile {quantile} of 1..1000 us is {answer}, not {expected}"));
        }
    }
    Ok(())
}
