"""A new version everywhere, one node after the other."""

from scenarios import scenario


@scenario()
def rolling_restart(trial):
    """Every node of a tree of 1 + 2 + 4 drained and replaced in turn, at 200 publishes/s, with pages as clients."""
    lab = trial.lab
    drain = 20 if trial.long else 1
    master = lab.master("master", drain=drain)
    middles = [lab.repeater(f"middle{i}", master, feed=True, drain=drain) for i in range(2)]
    leaves = [lab.repeater(f"leaf{i}", middles, drain=drain) for i in range(4)]
    trial.pages(16, leaves)
    trial.publish([master], 200)
    order = [*leaves, *middles, master]
    trial.random.shuffle(order)
    for member in order:
        trial.wait_for_messages()
        member.stop()
        trial.say(f"{member} has gone")
        member.start().wait_until_it_listens("admin")
        trial.fault_ended()
        if member.role == "repeater":
            member.wait_until_synchronised()
        trial.say(f"{member} is there again")
    trial.wait_for_messages()
    trial.settle()
    trial.judge()
    moved = sum(len(page.close_codes) for page in trial.clients)
    trial.note("connections that were closed", moved)
    trial.check(moved >= 16, "hardly any page had to come back: nothing was tried")
    codes = {code for page in trial.clients for code in page.close_codes}
    trial.check(codes == {1001}, f"pages were closed with {codes}")
    for member in order:
        trial.check(not member.events("gap"), f"{member} was told of a gap")
