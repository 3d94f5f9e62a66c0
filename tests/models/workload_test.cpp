// Workloads between guests' network stacks on plain processors: what they measure, what they cost, and that they can be
// saved at any time.
#include <doctest/doctest.h>

#include <map>

#include "models/workload/cpu_load.h"
#include "models/workload/datagram_flow.h"
#include "models/workload/mixture.h"
#include "models/workload/request_client.h"
#include "models/workload/request_server.h"
#include "models/workload/stream_flow.h"
#include "tests/models/workload_rig.h"

namespace workload_test {

namespace {

using namespace workload_test;

struct Dialogue {
    Dialogue(Pair& pair, RequestClient::Settings settings, Time service = {})
        : server(pair.simulation.scope("server"), pair.far(), {.port = 5201, .service = service}),
          client(pair.simulation.scope("client"), pair.near(), aim(pair, std::move(settings))) {
        client.start();
    }
    static RequestClient::Settings aim(Pair& pair, RequestClient::Settings settings) {
        settings.to = pair.far_end(5201);
        return settings;
    }
    RequestServer server;
    RequestClient client;
};

Time time_of(std::uint64_t ps) {
    return Time::ps(static_cast<std::int64_t>(ps));
}

TEST_CASE("a round trip of datagrams costs what its stages cost") {
    Pair pair;
    pair.simulation.journeys().switch_on(&request_in_frame);
    Dialogue dialogue(pair, {.datagrams = true, .think = Time::us(50)});
    pair.run_for(Time::ms(1));
    dialogue.client.reset();
    pair.run_for(Time::ms(10));
    const auto& latency = dialogue.client.latency();
    // Each way: system call, copy of 64 bytes, UDP down; the wire; UDP up, the program is woken, system call, copy.
    const Time copy = Time::ns(100) * 64 / 1024;
    const Time stack = Time::ns(1000) + copy + Time::ns(400) + Time::ns(500) + Time::ns(2000) + Time::ns(1000) + copy;
    const Time wire = pair.wire.frame_time(64 + 42) + Time::ns(25);
    CHECK(latency.min() == static_cast<std::uint64_t>((2 * (stack + wire)).ps()));
    CHECK(latency.max() == latency.min());
    CHECK(latency.count() > 100);
    CHECK(dialogue.client.failures() == 0);

    const auto sums = dialogue.client.attribution();
    CHECK(sums.count == latency.count());
    CHECK(static_cast<std::uint64_t>(sums.total.ps()) == latency.sum());
    std::map<std::string, Time> each;
    Time sum;
    for (const auto& [cause, part] : sums.causes) {
        each[cause] = part.time / static_cast<std::int64_t>(sums.count);
        sum += part.time;
    }
    CHECK(sum == sums.total);
    CHECK(each["client.stack"] + each["server.stack"] + each["wire"] + each["wait.processor"] ==
          Time::ps(static_cast<std::int64_t>(latency.mean())));
    CHECK(each["client.stack"] == each["server.stack"]);
}

TEST_CASE("every kind of dialogue moves on, and its causes add up") {
    struct Row {
        const char* name;
        bool guest;  // at the far end
        unsigned processors;
        RequestClient::Settings settings;
        Time service;
        std::uint64_t at_least;
    };
    const ArrivalSettings poisson{.kind = ArrivalKind::poisson, .per_kilosecond = 20'000'000};
    const ArrivalSettings bursts{
        .kind = ArrivalKind::on_off, .per_kilosecond = 50'000'000, .on = Time::us(200), .off = Time::us(800)};
    const Row rows[] = {
        {"UDP to a guest", true, 1, {.datagrams = true}, {}, 500},
        {"UDP to a peer", false, 1, {.datagrams = true}, {}, 500},
        {"TCP to a guest", true, 1, {}, {}, 400},
        {"TCP to a peer", false, 1, {}, {}, 400},
        {"many connections on two processors", true, 2, {.connections = 16}, {}, 800},
        {"large messages", true, 1, {.request = Choice{100'000}, .answer = Choice{30'000}}, {}, 40},
        {"sizes by weight", true, 1, {.request = Choice({{24, 200, 3}, {4000, 9000, 1}}, "x")}, {}, 300},
        {"the server's program works", true, 1, {}, Time::us(20), 200},
        {"Poisson arrivals", true, 1, {.connections = 4, .arrivals = poisson}, {}, 170},
        {"on and off", true, 1, {.connections = 4, .arrivals = bursts}, {}, 90},
        {"time to think", true, 1, {.think = Time::us(100), .random_think = true}, {}, 60},
    };
    for (const Row& row : rows) {
        CAPTURE(row.name);
        Pair pair(row.processors, row.guest);
        pair.simulation.journeys().switch_on(&request_in_frame);
        Dialogue dialogue(pair, row.settings, row.service);
        pair.run_for(Time::ms(1));
        dialogue.client.reset();
        pair.run_for(Time::ms(10));
        const auto sums = dialogue.client.attribution();
        CHECK(dialogue.client.latency().count() >= row.at_least);
        CHECK(sums.count == dialogue.client.latency().count());
        CHECK(static_cast<std::uint64_t>(sums.total.ps()) == dialogue.client.latency().sum());
        Time sum;
        for (const auto& [cause, part] : sums.causes) sum += part.time;
        CHECK(sum == sums.total);
        CHECK(dialogue.client.failures() == 0);
        CHECK(dialogue.client.throughput().window == Time::ms(10));
        CHECK(dialogue.client.throughput().count == dialogue.client.latency().count());
    }
}

TEST_CASE("an open loop counts what waits; a closed one does not") {
    // The server's program needs 50 us for each: 20,000 a second are all that it can.
    const ArrivalSettings flood{.kind = ArrivalKind::constant, .per_kilosecond = 40'000'000};
    Pair pair;
    Dialogue dialogue(pair, {.connections = 4, .arrivals = flood}, Time::us(50));
    pair.run_for(Time::ms(20));
    CHECK(dialogue.client.latency().count() > 300);
    CHECK(dialogue.client.latency().count() < 400);
    CHECK(time_of(dialogue.client.latency().max()) > Time::ms(8));
    Pair calm_pair;
    Dialogue calm(calm_pair, {.connections = 4}, Time::us(50));
    calm_pair.run_for(Time::ms(20));
    CHECK(calm.client.latency().count() > 300);
    CHECK(time_of(calm.client.latency().max()) < Time::us(300));
}

TEST_CASE("datagrams: sizes, rates, and as fast as it goes") {
    Pair pair;
    DatagramFlow::Settings settings;
    settings.to = pair.far_end(7000);
    settings.frame_bytes = internet_mix();
    settings.arrivals = {.kind = ArrivalKind::constant, .per_kilosecond = 100'000'000};
    DatagramFlow flow(pair.simulation.scope("flow"), pair.near(), pair.far(), settings);
    flow.start();
    pair.run_for(Time::ms(1));
    flow.reset();
    pair.run_for(Time::ms(20));
    CHECK(flow.throughput().count == 2000);
    // 340 1/3 bytes on average, less 46 of headers.
    CHECK(flow.throughput().bytes / 2000 > 270);
    CHECK(flow.throughput().bytes / 2000 < 320);
    CHECK(flow.lost() == 0);
    CHECK(time_of(flow.latency().min()) > Time::us(4));

    Pair other;
    settings.arrivals = {};
    settings.frame_bytes = Choice{64};
    settings.to = other.far_end(7000);
    DatagramFlow fast(other.simulation.scope("flow"), other.near(), other.far(), settings);
    fast.start();
    other.run_for(Time::ms(20));
    // A system call, 18 bytes to copy, and UDP: 1.402 us. The reader takes longer, and loses some of them.
    CHECK(fast.sent() > 13'800);
    CHECK(fast.sent() < 15'300);
    CHECK(fast.throughput().count < fast.sent());
    CHECK(other.counter("b.stack.datagram_buffer_full") > 0);
}

TEST_CASE("a trace says when and how much") {
    Pair pair;
    DatagramFlow::Settings settings;
    settings.to = pair.far_end(7000);
    settings.arrivals.kind = ArrivalKind::trace;
    settings.arrivals.trace = {{Time::us(10), 64}, {Time::us(10), 1518}, {Time::ms(1), 0}, {Time::ms(3), 1}};
    settings.frame_bytes = Choice{100};
    DatagramFlow flow(pair.simulation.scope("flow"), pair.near(), pair.far(), settings);
    flow.start();
    pair.run_for(Time::ms(2));
    CHECK(flow.throughput().count == 3);
    CHECK(flow.throughput().bytes == 64 + 1518 + 100 - 3 * 46);
    pair.run_for(Time::ms(2));
    CHECK(flow.throughput().count == 4);
}

TEST_CASE("a processor's share") {
    sim::Simulation simulation;
    sim::SerialProcessor processor(simulation.scope("cpu"), Time::zero());
    CpuLoad load(simulation.scope("load"), processor, {.share_permille = 300});
    load.start();
    simulation.agenda().run_until(Time::us(99'500));
    CHECK(load.computed() == Time::ms(30));
    CHECK(load.throughput().count == 100);
    CHECK(load.latency().max() == 300'000'000);
    CHECK(load.failures() == 0);
    CpuLoad all(simulation.scope("all"), processor, {.share_permille = 1000});
    load.reset();
    all.start();
    simulation.agenda().run_until(Time::ms(150));
    CHECK(load.computed() + all.computed() > Time::ms(50));  // together all of it
    CHECK(load.computed() + all.computed() <= Time::us(50'600));
    CHECK(all.failures() > 10);
}

TEST_CASE("a mixture draws by weight") {
    Pair pair;
    RequestServer server(pair.simulation.scope("server"), pair.far(), {});
    RequestClient::Settings small;
    small.to = pair.far_end(5201);
    small.arrivals.kind = ArrivalKind::external;
    RequestClient::Settings large = small;
    large.answer = Choice{8000};
    RequestClient first(pair.simulation.scope("small"), pair.near(), small);
    RequestClient second(pair.simulation.scope("large"), pair.near(), large);
    Mixture mixture(pair.simulation.scope("mixture"), {.kinds = {{&first, 7}, {&second, 3}}, .outstanding = 2});
    mixture.start();
    pair.run_for(Time::ms(100));
    const auto& drawn = mixture.drawn();
    const std::uint64_t all = drawn[0] + drawn[1];
    CHECK(all > 5000);
    CHECK(drawn[0] > all * 68 / 100);
    CHECK(drawn[0] < all * 72 / 100);
    CHECK(mixture.latency().count() == first.latency().count() + second.latency().count());
    CHECK(mixture.throughput().count == mixture.latency().count());
    CHECK(all - mixture.latency().count() <= 2);
    CHECK(second.latency().mean() > first.latency().mean());
}

TEST_CASE("saved in the middle of anything, it goes on alike") {
    const auto build = [](Pair& pair, std::vector<std::unique_ptr<Workload>>& workloads,
                          std::unique_ptr<RequestServer>& server) {
        pair.simulation.journeys().switch_on(&request_in_frame);
        server = std::make_unique<RequestServer>(pair.simulation.scope("server"), pair.far(),
                                                 RequestServer::Settings{.service = Time::us(3)});
        RequestClient::Settings dialogue;
        dialogue.to = pair.far_end(5201);
        dialogue.connections = 3;
        dialogue.think = Time::us(20);
        dialogue.random_think = true;
        workloads.push_back(std::make_unique<RequestClient>(pair.simulation.scope("dialogue"), pair.near(), dialogue));
        dialogue.datagrams = true;
        dialogue.arrivals = {.kind = ArrivalKind::poisson, .per_kilosecond = 10'000'000};
        workloads.push_back(std::make_unique<RequestClient>(pair.simulation.scope("udp"), pair.near(), dialogue));
        workloads.push_back(std::make_unique<StreamFlow>(pair.simulation.scope("flow"), pair.near(), pair.far(),
                                                         StreamFlow::Settings{.to = pair.far_end(5301)}));
        DatagramFlow::Settings datagrams;
        datagrams.to = pair.far_end(7000);
        datagrams.arrivals = {.kind = ArrivalKind::constant, .per_kilosecond = 50'000'000};
        workloads.push_back(
            std::make_unique<DatagramFlow>(pair.simulation.scope("datagrams"), pair.near(), pair.far(), datagrams));
    };
    for (const bool guest : {true, false}) {
        for (const std::int64_t at : {0, 100, 777, 1503, 2001}) {
            CAPTURE(at);
            Pair straight(2, guest), resumed(2, guest);
            std::vector<std::unique_ptr<Workload>> one, two;
            std::unique_ptr<RequestServer> first, second;
            build(straight, one, first);
            build(resumed, two, second);
            for (auto& workload : one) workload->start();
            straight.run_for(Time::us(at));
            resumed.simulation.restore(straight.simulation.save());
            straight.run_for(Time::ms(2));
            resumed.run_for(Time::ms(2));
            CHECK(straight.simulation.save() == resumed.simulation.save());
            for (std::size_t n = 0; n < one.size(); ++n) {
                CHECK(one[n]->latency() == two[n]->latency());
                CHECK(one[n]->attribution() == two[n]->attribution());
                CHECK(one[n]->throughput().bytes == two[n]->throughput().bytes);
                CHECK(one[n]->throughput().bytes > 0);
            }
        }
    }
}

// Asks for large answers without end, and reads none of them; then sends what is no message.
struct Greedy final : SocketUser {
    explicit Greedy(Sockets& s) : sockets(s), user(s.add_user(*this)) {}
    void opened(SocketId socket) override {
        for (int n = 0; n < 500; ++n) {
            auto data = write_message({64, greatest_message_bytes, 7});
            if (!sockets.write(socket, std::move(data))) break;
        }
        std::vector<std::byte> nonsense(1000, std::byte{0xff});
        (void)sockets.write(socket, std::move(nonsense));
    }
    Sockets& sockets;
    SocketUserId user;
};

TEST_CASE("a server holds so much for clients that do not read, and no more") {
    Pair pair(1, false);
    RequestServer server(pair.simulation.scope("server"), pair.far(), {.port = 5201});
    Greedy greedy(pair.near());
    const SocketId socket = pair.near().connect(pair.far_end(5201), greedy.user, false, 0);
    pair.a.stack->host().tcp().pause(socket, true);
    pair.run_for(Time::ms(50));
    CHECK(server.answered() >= 60);
    CHECK(server.answered() <= 70);
}

TEST_CASE("to follow requests changes nothing") {
    std::string hashes[2];
    for (const bool follow : {false, true}) {
        Pair pair;
        if (follow) pair.simulation.journeys().switch_on(&request_in_frame);
        Dialogue dialogue(pair, {.connections = 3});
        pair.run_for(Time::ms(5));
        hashes[follow ? 1 : 0] = std::to_string(dialogue.client.latency().sum()) + " " +
                                 std::to_string(pair.simulation.agenda().events_fired());
        CHECK(dialogue.client.attribution().count == (follow ? dialogue.client.latency().count() : 0));
    }
    CHECK(hashes[0] == hashes[1]);
}

TEST_CASE("settings that cannot be are told") {
    Pair pair;
    const auto client = [&](RequestClient::Settings settings) {
        RequestClient(pair.simulation.scope("client"), pair.near(), settings);
    };
    CHECK_THROWS_AS(client({.connections = 0}), sim::UserError);
    CHECK_THROWS_AS(client({.request = Choice{8}}), sim::UserError);
    CHECK_THROWS_AS(client({.datagrams = true, .request = Choice{1500}}), sim::UserError);
    CHECK_THROWS_AS(client({.arrivals = {.kind = ArrivalKind::poisson}}), sim::UserError);
    CHECK_THROWS_AS(client({.arrivals = {.kind = ArrivalKind::trace}}), sim::UserError);
    CHECK_THROWS_AS(Choice({{3, 2, 1}}, "x"), sim::UserError);
    CHECK_THROWS_AS(Choice({{1, 2, 0}}, "x"), sim::UserError);
}

}  // namespace

}  // namespace workload_test
