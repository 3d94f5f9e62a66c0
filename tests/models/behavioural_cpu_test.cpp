// A processor of a behavioural guest that has lost its partition.
#include <doctest/doctest.h>

#include <cstdint>

#include "models/behavioural/behavioural_cpu.h"
#include "sim/processor.h"
#include "tests/sim/looked_task.h"

namespace behavioural_cpu_test {

namespace {

struct Owner final : models::CpuOwner {
    void enter(unsigned) override {}
    void leave() override {}
    void synthetic_interrupt(unsigned) override {}
    void resume(models::ContinuationId, std::uint32_t, std::uint64_t) override {}
};

}  // namespace

TEST_CASE("without a partition nothing is fetched ahead: the memory that its drivers had may be gone") {
    Owner owner;
    models::BehaviouralCpu cpu{owner, 0};
    Looked task;
    const sim::TaskSlot slot{cpu, task};
    cpu.wake(0);
    CHECK_FALSE(cpu.fetch_ahead(0));
    CHECK(task.times == 0);
}

}  // namespace behavioural_cpu_test
