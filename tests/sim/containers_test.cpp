// sim/queue.h and sim/flat_map.h against the standard's containers, step by step.
#include <doctest/doctest.h>

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/archive.h"
#include "sim/flat_map.h"
#include "sim/queue.h"
#include "sim/random.h"

namespace containers_test {

template <class T>
void check_same(const sim::Queue<T>& queue, const std::deque<T>& expected) {
    REQUIRE(queue.size() == expected.size());
    CHECK(queue.empty() == expected.empty());
    for (std::size_t n = 0; n < expected.size(); ++n) CHECK(queue[n] == expected[n]);
    CHECK(std::equal(queue.begin(), queue.end(), expected.begin(), expected.end()));
    if (expected.empty()) return;
    CHECK(queue.front() == expected.front());
    CHECK(queue.back() == expected.back());
}

TEST_CASE("a queue holds what a deque holds, whatever is done to it") {
    sim::Random random{7, "queue"};
    sim::Queue<std::string> queue;
    std::deque<std::string> expected;
    for (int step = 0; step < 20'000; ++step) {
        const std::string text = "item " + std::to_string(step);
        switch (random.below(expected.size() < 40 ? 9 : 12)) {
            case 0:
            case 1:
            case 2:
            case 3:
                queue.push_back(text);
                expected.push_back(text);
                break;
            case 4: {
                const std::string& added = queue.emplace_back(text);
                CHECK(&added == &queue.back());
                expected.push_back(text);
                break;
            }
            case 5:
                queue.push_front(text);
                expected.push_front(text);
                break;
            case 6:
                if (random.below(50) == 0) {
                    queue.clear();
                    expected.clear();
                }
                break;
            case 7:
                if (expected.size() > 2) {
                    const std::string gone = expected[expected.size() / 2];
                    queue.erase(gone);
                    std::erase(expected, gone);
                }
                break;
            default:
                if (expected.empty()) break;
                queue.pop_front();
                expected.pop_front();
        }
        check_same(queue, expected);
    }
}

TEST_CASE("a queue that is moved away is empty, and takes things again") {
    sim::Queue<int> one;
    for (int n = 0; n < 5; ++n) one.push_back(n);
    one.pop_front();
    sim::Queue<int> other = std::move(one);
    check_same(other, {1, 2, 3, 4});
    check_same(one, {});  // NOLINT: what is left of it is what this is about
    one.push_back(9);
    check_same(one, {9});
    one = std::move(other);
    check_same(one, {1, 2, 3, 4});
    check_same(other, {});  // NOLINT
    CHECK(one == one);
    CHECK(!(one == other));
}

TEST_CASE("a queue that never gets empty takes no more memory than it holds, and drops what has gone") {
    sim::Queue<std::shared_ptr<int>> queue;
    std::weak_ptr<int> first;
    for (int n = 0; n < 4; ++n) queue.push_back(std::make_shared<int>(n));
    first = queue.front();
    queue.pop_front();
    CHECK(first.expired());
    const auto turn = [&queue](int times) {
        for (int n = 0; n < times; ++n) {
            queue.push_back(std::make_shared<int>(n));
            queue.pop_front();
        }
    };
    turn(100);  // until it has the memory that it needs
    const auto* const place = &queue.front();
    turn(100'000);
    CHECK(queue.size() == 3);
    CHECK(std::abs(&queue.front() - place) < 64);
}

TEST_CASE("a queue in a checkpoint is what a deque is") {
    sim::Queue<std::uint32_t> queue;
    for (std::uint32_t n = 0; n < 6; ++n) queue.push_back(n * n);
    queue.pop_front();
    queue.pop_front();
    const std::deque<std::uint32_t> same{4, 9, 16, 25};
    CHECK(sim::save_to_bytes(queue) == sim::save_to_bytes(same));
    sim::Queue<std::uint32_t> restored;
    restored.push_back(77);
    sim::restore_from_bytes(restored, sim::save_to_bytes(same));
    check_same(restored, same);
}

TEST_CASE("a flat map holds what a map holds, whatever is done to it") {
    sim::Random random{11, "flat map"};
    sim::FlatMap<std::uint16_t, std::string> flat;
    std::map<std::uint16_t, std::string> expected;
    for (int step = 0; step < 20'000; ++step) {
        const auto key = static_cast<std::uint16_t>(random.below(60));
        const std::string text = std::to_string(step);
        switch (random.below(6)) {
            case 0:
                CHECK(flat.try_emplace(key, text).second == expected.try_emplace(key, text).second);
                break;
            case 1:
                flat[key] = text;
                expected[key] = text;
                break;
            case 2:
                CHECK(flat.erase(key) == expected.erase(key));
                break;
            case 3:
                if (const auto place = flat.find(key); place != flat.end()) {
                    const auto next = flat.erase(place);
                    const auto after = expected.erase(expected.find(key));
                    CHECK((next == flat.end()) == (after == expected.end()));
                    if (after != expected.end()) CHECK(next->first == after->first);
                }
                break;
            case 4: {
                if (random.below(20) != 0) break;
                const auto end = static_cast<std::uint16_t>(key + 5);
                flat.erase(flat.lower_bound(key), flat.lower_bound(end));
                expected.erase(expected.lower_bound(key), expected.lower_bound(end));
                break;
            }
            default:
                CHECK(flat.contains(key) == expected.contains(key));
                if (expected.contains(key)) CHECK(flat.find(key)->second == expected.at(key));
        }
        REQUIRE(flat.size() == expected.size());
        CHECK(std::equal(flat.begin(), flat.end(), expected.begin(),
                         [](const auto& a, const auto& b) { return a.first == b.first && a.second == b.second; }));
    }
    CHECK(sim::save_to_bytes(flat) == sim::save_to_bytes(expected));
    sim::FlatMap<std::uint16_t, std::string> restored;
    sim::restore_from_bytes(restored, sim::save_to_bytes(expected));
    CHECK(restored == flat);
}

}  // namespace containers_test
