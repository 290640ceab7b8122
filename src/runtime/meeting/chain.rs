//! Waiting for one's turn in a chain: in a crowd most looks are in vain, and a look at two words tells.

use crate::runtime::progress::Core;

impl Core {
    /// Whether all that this rank has to do is its part in a chain, and others have to do theirs first.
    pub(crate) fn awaits_its_turn(&self) -> bool {
        let Some(meetings) = &self.meetings else {
            return false;
        };
        let [key] = meetings.running[..] else {
            return false;
        };
        let running = self.state.collectives.get(key);
        let Some(meeting) = running.and_then(|running| running.meeting.as_ref()) else {
            return false;
        };
        let alone = self.sleepers == 0 && !self.polling;
        if !meeting.chain || meeting.disputed || !alone {
            return false;
        }
        let area = &meetings.area;
        let adds = meeting.may_enter() && meeting.is_its_turn(area);
        let takes = meeting.left < meeting.entered && meeting.is_ready(area);
        !adds && !takes
    }
}
