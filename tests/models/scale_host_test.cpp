// Hosts of `bench scale`: partitions that share a fixed amount of traffic, and one host at the published limits.
#include <doctest/doctest.h>

#include "models/scale/scale_host.h"
#include "sim/check.h"

namespace scale_host_test {

#if defined(__SANITIZE_ADDRESS__)
#define VG_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VG_ADDRESS_SANITIZER 1
#endif
#endif

namespace {

using models::ScaleHost;
using models::ScalePath;
using models::ScaleSettings;
using models::ScaleTraffic;
using sim::Time;

TEST_CASE("partitions share the same traffic, whatever their number") {
    for (const ScalePath path : {ScalePath::emulated, ScalePath::synthetic, ScalePath::vf}) {
        for (const ScaleTraffic traffic : {ScaleTraffic::pages, ScaleTraffic::uploads, ScaleTraffic::requests}) {
            // An adapter of 100 Mb/s is too slow for as many.
            if (path == ScalePath::emulated && traffic == ScaleTraffic::uploads) continue;
            for (const unsigned partitions : {1u, 5u}) {
                CAPTURE(name_of(path));
                CAPTURE(name_of(traffic));
                CAPTURE(partitions);
                ScaleSettings settings;
                settings.path = path;
                settings.traffic = traffic;
                settings.partitions = partitions;
                settings.programs = 5;
                settings.requests_per_second = 500;
                ScaleHost host(settings);
                host.start();
                host.run_for(Time::ms(20));
                const ScaleHost::Counts before = host.counts();
                host.run_for(Time::ms(100));
                const ScaleHost::Counts after = host.counts();
                CHECK(after.requests - before.requests == 50);
                CHECK(after.failures == 0);
                CHECK(after.partitions_served == partitions);
                CHECK(host.adapters() == 1);
                CHECK(host.functions_in_use() == (path == ScalePath::vf ? partitions : 0));
            }
        }
    }
}

TEST_CASE("programs that send as fast as they can") {
    for (const ScalePath path : {ScalePath::emulated, ScalePath::synthetic, ScalePath::vf}) {
        CAPTURE(name_of(path));
        ScaleSettings settings;
        settings.path = path;
        settings.partitions = 2;
        ScaleHost host(settings);
        host.start_flood(2);
        // Less than a time slice: a guest that never rests and begins on a processor of the root's moves away.
        host.run_for(Time::ms(5));
        CHECK(host.counts().frames > 100);
    }
}

TEST_CASE("a host without partitions shares no traffic") {
    ScaleSettings settings;
    settings.partitions = 0;
    CHECK_THROWS_AS(ScaleHost{settings}, sim::UserError);
}

// Windows Server 2012: 1,024 active partitions, 64 virtual processors in one, 4 TB of memory. Without sanitizers, which
// have their own idea of what memory is.
#ifndef VG_ADDRESS_SANITIZER
TEST_CASE("a host at the published limits is built and runs") {
    ScaleSettings settings;
    settings.path = ScalePath::vf;
    settings.traffic = ScaleTraffic::requests;
    settings.partitions = 1024;
    settings.requests_per_second = 1000;
    settings.first_vps = 64;
    settings.cores = 64;
    settings.memory_bytes = 4096ull << 30;
    settings.partition_bytes = 4080ull << 20;
    ScaleHost host(settings);
    host.start();
    host.run_for(Time::ms(20));
    CHECK(host.counts().partitions_served == 1024);
    CHECK(host.adapters() == 17);
    CHECK(host.functions_in_use() == 1024);
}
#endif

}  // namespace

}  // namespace scale_host_test
