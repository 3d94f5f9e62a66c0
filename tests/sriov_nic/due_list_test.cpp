// Which thing is due first, with places kept and without, held against a list that is sorted anew each time.
#include "sriov_nic/due_list.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "sim/random.h"

namespace due_list_test {

using sim::Time;
constexpr unsigned things = 40;

TEST_CASE("a due list: what is put in comes out in order, places that are kept for others notwithstanding") {
    sim::Random random{1};
    sriov_nic::DueList<things> list;
    std::vector<Time> due(things, Time::never());
    for (unsigned step = 0; step < 10'000; ++step) {
        const auto thing = static_cast<unsigned>(random.below(things));
        const Time at = Time::ps(static_cast<std::int64_t>(random.below(50)));
        switch (random.below(4)) {
            case 0:
                list.keep_place(thing, at);
                due[thing] = Time::never();
                break;
            case 1:
                list.remove(thing);
                due[thing] = Time::never();
                break;
            default:
                list.put(thing, at);
                due[thing] = at;
        }
        const Time first = *std::min_element(due.begin(), due.end());
        REQUIRE(list.first() == first);
        if (!first.is_never()) REQUIRE(due[list.front()] == first);
        std::size_t in = 0;
        for (std::size_t place = 0; place < list.size(); ++place) {
            if (place > 0) REQUIRE(list.time(place - 1) <= list.time(place));
            in += list.has(list[place]) ? 1 : 0;
        }
        for (unsigned n = 0; n < things; ++n) REQUIRE(list.at(n) == due[n]);
        REQUIRE(in ==
                static_cast<std::size_t>(std::count_if(due.begin(), due.end(), [](Time t) { return !t.is_never(); })));
    }
}

}  // namespace due_list_test
