#include "CBlake3.h"
