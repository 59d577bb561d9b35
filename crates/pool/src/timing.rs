//! The loop's times.

use std::time::Duration;

/// The loop's times. The defaults are right for servers; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A look is taken at least this often, whatever was heard.
    pub resync: Duration,
    /// Least and longest rest between two looks, so that a flood of changes is taken in together. In between it is twice as
    /// long as the look took: looks that are not very long have a third of a processor at most, and jobs wait no longer than
    /// that takes.
    pub gap: (Duration, Duration),
    /// A look waits this long for a forge's answer, and goes on with what was last known.
    pub demand_patience: Duration,
    /// The forge must answer within this.
    pub demand_deadline: Duration,
    /// How long the last known demand counts while the forge does not answer.
    pub demand_keep: Duration,
    /// All machines of one look are begun within this, or left to the next; retiring one machine may take this long.
    pub act_deadline: Duration,
    /// A ready machine that nobody needs goes after this.
    pub surplus_after: Duration,
    /// Jobs that got no machine for this long come before all others.
    pub patience: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            resync: Duration::from_secs(30),
            gap: (Duration::from_millis(1), Duration::from_millis(5)),
            demand_patience: Duration::from_secs(1),
            demand_deadline: Duration::from_secs(10),
            demand_keep: Duration::from_secs(60),
            act_deadline: Duration::from_secs(15),
            surplus_after: Duration::from_secs(60),
            patience: Duration::from_secs(30),
        }
    }
}

impl Timing {
    /// From the begin of one look to that of the next it is never longer than this while the loop is well.
    pub fn longest_look(&self) -> Duration {
        self.demand_patience + self.act_deadline + self.resync + self.gap.1
    }

    /// The rest after a look that observed and planned for so long.
    pub(crate) fn gap_after(&self, busy: Duration) -> Duration {
        (busy * 2).clamp(self.gap.0, self.gap.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_twice_the_look_within_bounds() {
        let rest = |micros| Timing::default().gap_after(Duration::from_micros(micros)).as_micros();
        assert_eq!([0, 400, 1200, 2000, 9000].map(rest), [1000, 1000, 2400, 4000, 5000]);
    }
}
