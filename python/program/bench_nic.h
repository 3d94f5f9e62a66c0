// `bench nic`: frames per second of this computer through the whole way of virtual functions.
#pragma once

namespace python {

int bench_nic();

}  // namespace python
