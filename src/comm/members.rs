//! What can be asked about the ranks of a communicator.

use super::Communicator;
use crate::base::ids::Peer;

impl Communicator {
    /// The rank in the world communicator of a rank of this one; `None` when there is no such rank.
    #[doc(alias = "MPI_Group_translate_ranks")]
    pub fn world_rank(&self, rank: usize) -> Option<usize> {
        self.inner.group.peer(rank).map(Peer::index)
    }

    /// Name of the host that a rank runs on; `None` when there is no such rank.
    #[doc(alias = "MPI_Get_processor_name")]
    pub fn host(&self, rank: usize) -> Option<&str> {
        let peer = self.inner.group.peer(rank)?;
        Some(self.inner.runtime.identity().host(peer))
    }

    /// Which of the job's programs a rank runs, counted from 0 in the order of the command line; `None` when there
    /// is no such rank. It is 0 for all, unless the job was started with several programs, as in
    /// `phalanx run -n 1 ./ocean : -n 3 ./air`. Scripts find their own in `PHALANX_APPNUM`.
    ///
    /// # Examples
    ///
    /// A communicator for the ranks of each program:
    ///
    /// ```
    /// # fn main() -> phalanx::Result<()> {
    /// # phalanx::threads(2, |world| {
    /// let program = world.appnum(world.rank()).unwrap_or(0);
    /// let ours = world.split(Some(program as u64), 0)?.expect("everyone has a colour");
    /// assert_eq!(ours.size(), world.size(), "one program here");
    /// # Ok(())
    /// # })?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "MPI_APPNUM")]
    pub fn appnum(&self, rank: usize) -> Option<usize> {
        let peer = self.inner.group.peer(rank)?;
        Some(self.inner.runtime.identity().program(peer))
    }
}
