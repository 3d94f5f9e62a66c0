// What a working set fetches has no effect that a test could see; that it reads nothing but what it was told of, and
// that its parts come to an end, has.
#include <doctest/doctest.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "sim/processor.h"
#include "sim/simulation.h"
#include "sim/working_set.h"
#include "tests/sim/looked_task.h"

namespace working_set_test {

namespace {

// Lines in one go, and calls until the end.
constexpr std::size_t a_few = 12;
std::size_t parts_of_lines(const sim::WorkingSet& set) {
    std::size_t at = 0, calls = 1;
    for (std::size_t room = a_few; set.fetch_some(at, room); room = a_few) ++calls;
    return calls;
}
std::size_t parts_of_contents(const sim::WorkingSet& set) {
    std::size_t at = 0, calls = 1;
    for (std::size_t room = a_few; set.fetch_some_contents(at, room); room = a_few) ++calls;
    return calls;
}

}  // namespace

TEST_CASE("a working set is fetched in parts, what was added twice once, and to an end") {
    alignas(64) static std::byte memory[64 * 1000];
    sim::WorkingSet set;
    CHECK(set.empty());
    set.fetch();
    set.fetch_list();
    CHECK(parts_of_lines(set) == 1);
    CHECK(parts_of_contents(set) == 1);
    // Ten places far from one another, each twice.
    for (int round = 0; round < 2; ++round) {
        for (std::size_t n = 0; n < 10; ++n) set.add(&memory[n * 6400 + 60], 8);
    }
    CHECK_FALSE(set.empty());
    CHECK(parts_of_lines(set) == 2);  // of twelve lines: two lines of each place
    CHECK(parts_of_contents(set) == 1);
    set.clear();
    CHECK(set.empty());
    CHECK(parts_of_lines(set) == 1);
}

TEST_CASE("a line is in a working set once, whatever the order in which its neighbours came") {
    alignas(64) static std::byte memory[64 * 200];
    for (std::size_t order = 0; order < 120; ++order) {
        // Five lines side by side, each order of them; then all again.
        std::vector<std::size_t> lines{0, 1, 2, 3, 4};
        std::vector<std::size_t> drawn;
        for (std::size_t rest = order, left = 5; left != 0; rest /= left, --left) {
            const auto place = lines.begin() + static_cast<std::ptrdiff_t>(rest % left);
            drawn.push_back(*place);
            lines.erase(place);
        }
        sim::WorkingSet set, another;
        for (const std::size_t line : drawn) set.add(&memory[64 * (100 + line)], 1);
        another.add(&memory[64 * 101], 64 * 2);
        sim::GatheredSet gathered;
        gathered.restart();
        set.add(&memory[64 * 100], 64 * 5);
        CHECK(gathered.current());
        gathered.add(another);
        gathered.add(set);
        std::size_t at = 0, room = 1000;
        CHECK_FALSE(gathered.all().fetch_some(at, room));
        CHECK(room == 1000 - 5);
    }
}

TEST_CASE("a working set has a limit") {
    std::vector<std::byte> memory(64 * 4000);
    std::vector<std::unique_ptr<int>> holders(1000);
    sim::WorkingSet set;
    for (std::size_t n = 0; n < 2000; ++n) set.add(memory[128 * n]);
    for (const auto& holder : holders) set.add_content(holder, sizeof(int));
    CHECK(parts_of_lines(set) == (512 + 11) / 12);
    CHECK(parts_of_contents(set) == 1);
    set.fetch();
}

TEST_CASE("contents are where their holders say at the time, or nowhere") {
    std::vector<int> growing;
    auto once = std::make_unique<int>(1);
    sim::WorkingSet set;
    set.add_elements(growing, 20);
    set.add_content(once, sizeof(int));
    set.add(growing);
    for (int n = 0; n < 5000; ++n) {
        growing.push_back(n);
        std::size_t at = 0, room = a_few;
        CHECK_FALSE(set.fetch_some_contents(at, room));
    }
    std::size_t at = 0, room = a_few;
    CHECK_FALSE(set.fetch_some_contents(at, room));
    CHECK(room == a_few - 3);  // 80 bytes are in two lines
    once.reset();
    std::vector<int>{}.swap(growing);
    at = 0;
    room = a_few;
    CHECK_FALSE(set.fetch_some_contents(at, room));
    CHECK(room == a_few);
}

TEST_CASE("several sets are one list, each thing once, until one of them is another") {
    alignas(64) static std::byte memory[64 * 100];
    std::vector<int> content(1);
    auto first = std::make_unique<sim::WorkingSet>();
    sim::WorkingSet second;
    for (std::size_t n = 0; n < 10; ++n) first->add(&memory[n * 640], 1);
    for (std::size_t n = 0; n < 20; ++n) second.add(&memory[n * 320], 1);
    first->add_elements(content);
    second.add_elements(content);

    sim::GatheredSet gathered;
    CHECK_FALSE(gathered.current());
    gathered.restart();
    gathered.add(*first);
    gathered.add(second);
    CHECK(gathered.current());
    std::size_t at = 0, room = 1000;
    CHECK_FALSE(gathered.all().fetch_some(at, room));
    CHECK(room == 1000 - 20 - 1);  // and that which holds the content
    room = 1000;
    CHECK_FALSE(gathered.all().fetch_some_contents(at, room));
    CHECK(room == 999);

    second.add(&memory[640], 1);  // known already
    CHECK(gathered.current());
    // They may move, and nothing is said twice.
    std::vector<sim::WorkingSet> sets;
    sets.push_back(std::move(second));
    sets.emplace_back();
    CHECK(gathered.current());
    (void)gathered.settled();
    CHECK(gathered.settled());
    first.reset();
    CHECK_FALSE(gathered.current());
    CHECK_FALSE(gathered.settled());
    CHECK(gathered.settled());
    CHECK_FALSE(gathered.current());
    gathered.restart();
    CHECK(gathered.current());
    sets[0].add(&memory[64], 1);
    CHECK_FALSE(gathered.current());
    gathered.restart();
    CHECK(gathered.all().empty());
    sets[0] = {};
    CHECK_FALSE(gathered.current());
}

TEST_CASE("who does not wake is no more fetched ahead, until he wakes again") {
    sim::Simulation simulation{1};
    sim::SerialProcessor processor{simulation.scope("processor"), sim::Time::zero()};
    Looked often, once;
    const sim::TaskSlot often_slot{processor, often}, once_slot{processor, once};
    once_slot.needs(once);
    CHECK(processor.take_awake() == 0);
    constexpr int all = 10;
    for (int n = 0; n < all; ++n) {
        if (n == 0) processor.wake(1);
        processor.wake(0);
        simulation.agenda().run_until(simulation.agenda().now() + sim::Time::us(1));
        processor.fetch_next(processor.take_awake());
    }
    CHECK(often.times == all);
    CHECK(once.times == 1);
    processor.wake(1);
    CHECK(processor.take_awake() == 2);
    CHECK(processor.take_awake() == 0);
}

TEST_CASE("of more tasks than bits none is forgotten") {
    sim::Simulation simulation{1};
    sim::SerialProcessor processor{simulation.scope("processor"), sim::Time::zero()};
    std::vector<Looked> tasks(70);
    std::vector<std::unique_ptr<sim::TaskSlot>> slots;
    for (Looked& task : tasks) slots.push_back(std::make_unique<sim::TaskSlot>(processor, task));
    for (const unsigned id : {0u, 69u}) processor.wake(id);
    processor.fetch_next(processor.take_awake());
    CHECK(tasks[0].times == 1);
    CHECK(tasks[1].times == 0);
    CHECK(tasks[69].times == 1);
}

TEST_CASE("a task that has gone takes its needs with it") {
    sim::Simulation simulation{1};
    sim::SerialProcessor processor{simulation.scope("processor"), sim::Time::zero()};
    Looked task;
    auto slot = std::make_unique<sim::TaskSlot>(processor, task);
    auto content = std::make_unique<std::vector<int>>(10);
    slot->needs(task);
    slot->needs_elements(*content);
    slot->wake();
    const sim::TaskQueue::Tasks awake = processor.take_awake();
    sim::GatheredSet gathered;
    gathered.restart();
    processor.gather(awake, gathered);
    CHECK_FALSE(gathered.all().empty());
    CHECK(gathered.current());
    slot.reset();
    content.reset();
    CHECK_FALSE(gathered.current());
    gathered.restart();
    processor.gather(awake, gathered);
    CHECK(gathered.all().empty());
    processor.fetch_needs(awake);
    processor.fetch_places(awake);
    processor.fetch_next(awake);
}

}  // namespace working_set_test
