// `bench scale`: what many partitions cost that share the same traffic, how much memory a full host takes, and packets
// for each second of this computer, beside ns-3's.
#pragma once

namespace python {

int bench_scale();

}  // namespace python
