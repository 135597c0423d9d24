# SPDX-License-Identifier: Apache-2.0
"""Signing through what frameworks offer for it, instead of through hooks: each module needs its framework."""
