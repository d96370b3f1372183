"""From a 4D image to clean regional series: streaming, parcel means, confounds, denoising, quality."""

from bids_neurossm.signal.parcels import parcel_means

__all__ = ["parcel_means"]
