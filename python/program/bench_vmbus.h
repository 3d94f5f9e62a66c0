// `bench vmbus`: prints how fast packets go through rings, and what the synthetic network path moves.
#pragma once

namespace python {

int bench_vmbus();

}  // namespace python
