//! Where this process stands: its host, and its rank among the processes of one job.

use rustix::system::uname;

use crate::Environment;

/// The variables of launchers: the rank, from 0, and how many ranks there are. torchrun, SLURM, Open MPI, MPICH.
const LAUNCHERS: &[(&str, &str)] = &[
    ("RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
];

/// One of several processes that run the same program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rank {
    /// Its number, from 0.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

impl Rank {
    /// What the launcher says; nothing where there is none, or where it says nothing sensible.
    #[must_use]
    pub fn find(environment: &Environment) -> Option<Self> {
        LAUNCHERS.iter().find_map(|(number, of)| {
            let number = environment.text(number)?.parse().ok()?;
            let of = environment.text(of)?.parse().ok()?;
            (number < of).then_some(Self { number, of })
        })
    }
}

/// The name of this machine.
#[must_use]
pub fn host() -> String {
    uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rank_is_what_the_launcher_says() {
        let rank = |variables: &[(&str, &str)]| {
            Rank::find(&variables.iter().copied().collect::<Environment>())
        };
        let slurm = [("SLURM_PROCID", "3"), ("SLURM_NTASKS", "4")];
        assert_eq!(rank(&slurm), Some(Rank { number: 3, of: 4 }));
        let torchrun = [("RANK", "0"), ("WORLD_SIZE", "2")];
        let both = [torchrun, slurm].concat();
        assert_eq!(rank(&both), Some(Rank { number: 0, of: 2 }));
        assert_eq!(rank(&[("RANK", "0")]), None);
        assert_eq!(rank(&[("RANK", "5"), ("WORLD_SIZE", "2")]), None);
    }
}
